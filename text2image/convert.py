"""Converts between protobuf messages and our dataclasses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, TypeVar

from google.protobuf.message import Message

from proto import text2image_pb2 as pb
from text2image import status, types
from text2image.abilities import Abilities, Example, Thing, Words
from text2image.errors import ErrorDetails, InvalidRequest, Violation

T = TypeVar("T")

_FORMATS = {
    types.ImageFormat.PNG: pb.IMAGE_FORMAT_PNG,
    types.ImageFormat.JPEG: pb.IMAGE_FORMAT_JPEG,
    types.ImageFormat.WEBP: pb.IMAGE_FORMAT_WEBP,
}
_SYNTAXES = {
    types.PromptSyntax.PLAIN: pb.PROMPT_SYNTAX_PLAIN,
    types.PromptSyntax.A1111: pb.PROMPT_SYNTAX_A1111,
}
_SYNTAXES_BACK = {number: syntax for syntax, number in _SYNTAXES.items()}
_FORMATS_BACK = {number: image_format for image_format, number in _FORMATS.items()}
_EXACTNESS = {
    pb.EXACTNESS_CERTIFIED: types.Exactness.CERTIFIED,
    pb.EXACTNESS_TOLERANT: types.Exactness.TOLERANT,
}
_STATES = {
    pb.GetStatusResponse.STATE_STARTING: status.State.STARTING,
    pb.GetStatusResponse.STATE_READY: status.State.READY,
    pb.GetStatusResponse.STATE_DRAINING: status.State.DRAINING,
    pb.GetStatusResponse.STATE_FAILED: status.State.FAILED,
    pb.GetStatusResponse.STATE_STUCK: status.State.STUCK,
}
_MODEL_STATES = {
    pb.GetStatusResponse.MODEL_STATE_AVAILABLE: status.ModelState.AVAILABLE,
    pb.GetStatusResponse.MODEL_STATE_LOADING: status.ModelState.LOADING,
    pb.GetStatusResponse.MODEL_STATE_LOADED: status.ModelState.LOADED,
    pb.GetStatusResponse.MODEL_STATE_FAILED: status.ModelState.FAILED,
}


def request_to_pb(
    prompt: str, request_id: str, options: types.GenerationOptions
) -> pb.GenerateImageRequest:
    """The request as a message. Only types are checked; the service checks the values.

    Raises:
        InvalidRequest: lists every field whose value doesn't fit its type on the wire.
        TypeError: an option is unknown.
    """
    unknown = set(options) - set(types.GenerationOptions.__annotations__)
    if unknown:
        raise TypeError(f"unknown generation options: {', '.join(sorted(unknown))}")
    given: dict[str, Any] = {"prompt": prompt, "request_id": request_id, **options}
    message = pb.GenerateImageRequest()
    violations = []
    for name, value in given.items():
        try:
            _set(message, name, value)
        except UnicodeEncodeError:
            violations.append(Violation(name, "Must be text that UTF-8 can carry.", "INVALID"))
        except (ValueError, TypeError, AttributeError):
            text = f"Can't be sent as this: {str(value)[:40]!r}."
            violations.append(Violation(name, text, "INVALID"))
    if violations:
        text = "; ".join(f"{found.field}: {found.description}" for found in violations)
        raise InvalidRequest(text, "INVALID_ARGUMENT", ErrorDetails(violations=tuple(violations)))
    return message


def syntax_to_pb(syntax: types.PromptSyntax) -> pb.PromptSyntax:
    return _SYNTAXES[syntax]


def _set(message: pb.GenerateImageRequest, name: str, value: Any) -> None:
    if value is None:
        return
    if name == "loras":
        message.loras.extend(pb.Lora(name=lora.name, scale=lora.scale) for lora in value)
    elif name == "output_format":
        message.output_format = _FORMATS[types.ImageFormat(value)]
    elif name == "prompt_syntax":
        message.prompt_syntax = syntax_to_pb(types.PromptSyntax(value))
    else:
        setattr(message, name, value)


def upscale_to_pb(
    image: bytes, scale: float, upscaler: str, output_format: types.ImageFormat
) -> pb.UpscaleRequest:
    return pb.UpscaleRequest(
        image=image, scale=scale, upscaler=upscaler, output_format=_FORMATS[output_format]
    )


def upscaled_from_pb(message: pb.UpscaleResponse) -> types.Upscaled:
    return types.Upscaled(_flat(types.Image, message.image), message.upscaler)


def event_from_pb(message: pb.GenerateImageEvent) -> types.Event | None:
    """The event; None for one that this client doesn't know (from a newer service)."""
    match message.WhichOneof("event"):
        case "queued":
            return _flat(types.Queued, message.queued)
        case "progress":
            return _progress(message.progress)
        case "image":
            return types.FinishedImage(message.image.index, _flat(types.Image, message.image.image))
        case "done":
            return types.Done(_info(message.done))
    return None


def status_from_pb(message: pb.GetStatusResponse) -> status.ServiceStatus:
    """The status; states that this client doesn't know become UNKNOWN."""
    return status.ServiceStatus(
        state=_STATES.get(message.state, status.State.UNKNOWN),
        message=message.message,
        version=message.version,
        uptime_s=message.uptime_s,
        models=tuple(_model(model) for model in message.models),
        queue=_flat(status.Queue, message.queue),
        counters=_flat(status.Counters, message.counters),
        latency=_flat(status.Latency, message.latency),
        resources=_resources(message.resources),
        limits=_flat(status.Limits, message.limits),
        schedulers=tuple(message.schedulers),
        loras=tuple(message.loras),
        embeddings=tuple(message.embeddings),
        adapters=_adapters(message.adapters),
        upscalers=tuple(message.upscalers),
        histograms=tuple(_histogram(found) for found in message.histograms),
        last_hour=tuple(_histogram(found) for found in message.last_hour),
        replicas=tuple(_replica(replica) for replica in message.replicas),
    )


def _replica(message: pb.GetStatusResponse.Replica) -> status.ReplicaStatus:
    return status.ReplicaStatus(
        name=message.name,
        state=_STATES.get(message.state, status.State.UNKNOWN),
        message=message.message,
        host=message.host,
        device=message.device,
        running=message.running,
        process_memory_bytes=message.process_memory_bytes,
    )


def _histogram(message: pb.GetStatusResponse.Histogram) -> status.Histogram:
    return status.Histogram(message.name, tuple(message.bounds), tuple(message.counts), message.sum)


def warnings_from_pb(
    messages: Iterable[pb.GenerationWarning],
) -> tuple[types.GenerationWarning, ...]:
    return tuple(
        types.GenerationWarning(w.field, w.description, w.reason, w.excerpt, tuple(w.alternatives))
        for w in messages
    )


def _model(message: pb.GetStatusResponse.Model) -> status.ModelStatus:
    """Of an older service: without the defaults, limits and lists of each model."""
    own: dict[str, Any] = {
        "abilities": _abilities(message.abilities) if message.HasField("abilities") else None,
        "figures": tuple(_flat(status.Figure, figure) for figure in message.figures),
        "state": _MODEL_STATES.get(message.state, status.ModelState.UNKNOWN),
        "limits": _flat(status.Limits, message.limits) if message.HasField("limits") else None,
        "schedulers": tuple(message.schedulers),
        "adapters": _adapters(message.adapters),
        "embeddings": tuple(message.embeddings),
        "default_num_inference_steps": message.default_num_inference_steps or 50,
        "default_guidance_scale": message.default_guidance_scale
        if message.default_num_inference_steps
        else 7.5,
        "default_loras": tuple(types.Lora(one.name, one.scale) for one in message.default_loras),
    }
    same = {f.name for f in fields(status.ModelStatus)} - own.keys()
    return status.ModelStatus(**{name: getattr(message, name) for name in same}, **own)


def _adapters(messages: Iterable[pb.GetStatusResponse.Adapter]) -> tuple[status.Adapter, ...]:
    return tuple(status.Adapter(one.name, tuple(one.trigger_words)) for one in messages)


def _abilities(message: pb.Abilities) -> Abilities:
    kinds = ("colours", "backgrounds", "landscapes", "looks", "counts", "compositions")
    return Abilities(
        about=message.about,
        languages=tuple(message.languages),
        reads_emoji=message.reads_emoji,
        token_limit=message.token_limit,
        sizes=tuple((size.width, size.height) for size in message.sizes),
        things=tuple(Thing(t.name, t.group, t.emoji, tuple(t.synonyms)) for t in message.things),
        examples=tuple(_flat(Example, example) for example in message.examples),
        **{
            kind: tuple(Words(w.name, tuple(w.words)) for w in getattr(message, kind))
            for kind in kinds
        },
    )


def _flat(kind: type[T], message: Message) -> T:
    """A dataclass whose fields are copied from the message's fields of the same names."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: getattr(message, name) for name in names})


def _progress(message: pb.GenerateImageEvent.Progress) -> types.Progress:
    preview = _flat(types.Image, message.preview) if message.HasField("preview") else None
    return types.Progress(message.step, message.num_steps, message.eta_ms, preview)


def _resources(message: pb.GetStatusResponse.Resources) -> status.Resources:
    return status.Resources(
        cpu_percent=message.cpu_percent,
        process_memory_bytes=message.process_memory_bytes,
        system_memory_bytes=message.system_memory_bytes,
        system_memory_used_bytes=message.system_memory_used_bytes,
        gpus=tuple(_flat(status.Gpu, gpu) for gpu in message.gpus),
    )


def _info(message: pb.GenerationInfo) -> types.GenerationInfo:
    return types.GenerationInfo(
        request_id=message.request_id,
        params=_params(message.request),
        model=message.model,
        model_revision=message.model_revision,
        device=message.device,
        dtype=message.dtype,
        runtime=message.runtime,
        exactness=_EXACTNESS.get(message.exactness, types.Exactness.UNKNOWN),
        timings=_flat(types.Timings, message.timings),
        warnings=warnings_from_pb(message.warnings),
        init_image_sha256=message.init_image_sha256,
        mask_sha256=message.mask_sha256,
    )


def _params(message: pb.GenerateImageRequest) -> types.GenerationParams:
    return types.GenerationParams(
        prompt=message.prompt,
        negative_prompt=message.negative_prompt,
        height=message.height,
        width=message.width,
        num_inference_steps=message.num_inference_steps,
        guidance_scale=message.guidance_scale,
        seed=message.seed,
        num_images=message.num_images,
        scheduler=message.scheduler,
        model=message.model,
        output_format=_FORMATS_BACK.get(message.output_format, types.ImageFormat.PNG),
        loras=tuple(types.Lora(lora.name, lora.scale) for lora in message.loras),
        strength=message.strength if message.HasField("strength") else None,
        prompt_syntax=_SYNTAXES_BACK.get(message.prompt_syntax, types.PromptSyntax.PLAIN),
        clip_skip=message.clip_skip or 1,
        upscale=message.upscale if message.HasField("upscale") else None,
        upscale_strength=(
            message.upscale_strength if message.HasField("upscale_strength") else None
        ),
    )
