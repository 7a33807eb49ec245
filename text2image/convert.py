"""Converts between protobuf messages and our dataclasses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from proto import text2image_pb2 as pb
from text2image import status, types
from text2image.errors import ErrorDetails, InvalidRequest, Violation
from text2image.messages import read

_FORMATS = {
    types.ImageFormat.PNG: pb.IMAGE_FORMAT_PNG,
    types.ImageFormat.JPEG: pb.IMAGE_FORMAT_JPEG,
    types.ImageFormat.WEBP: pb.IMAGE_FORMAT_WEBP,
}
_SYNTAXES = {
    types.PromptSyntax.PLAIN: pb.PROMPT_SYNTAX_PLAIN,
    types.PromptSyntax.A1111: pb.PROMPT_SYNTAX_A1111,
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
    return read(types.Upscaled, message)


def event_from_pb(message: pb.GenerateImageEvent) -> types.Event | None:
    """The event; None for one that this client doesn't know (from a newer service)."""
    match message.WhichOneof("event"):
        case "queued":
            return read(types.Queued, message.queued)
        case "progress":
            return read(types.Progress, message.progress)
        case "image":
            return read(types.FinishedImage, message.image)
        case "done":
            return types.Done(_info(message.done))
    return None


def warnings_from_pb(
    messages: Iterable[pb.GenerationWarning],
) -> tuple[types.GenerationWarning, ...]:
    return tuple(read(types.GenerationWarning, message) for message in messages)


def status_from_pb(message: pb.GetStatusResponse) -> status.ServiceStatus:
    """The status; states that this client doesn't know become UNKNOWN."""
    models = tuple(_model(model) for model in message.models)
    return read(status.ServiceStatus, message, models=models)


def _model(message: pb.GetStatusResponse.Model) -> status.ModelStatus:
    """Of an older service: without the defaults, limits and lists of each model."""
    if message.default_num_inference_steps:
        return read(status.ModelStatus, message)
    return read(
        status.ModelStatus, message, default_num_inference_steps=50, default_guidance_scale=7.5
    )


def _info(message: pb.GenerationInfo) -> types.GenerationInfo:
    clip_skip = message.request.clip_skip or 1  # an older service does not tell
    params = read(types.GenerationParams, message.request, clip_skip=clip_skip)
    return read(types.GenerationInfo, message, params=params)
