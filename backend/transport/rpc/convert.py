"""Converts between protobuf messages and domain objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.message import Message

from backend.domain import (
    Done,
    Event,
    Exactness,
    FinishedImage,
    GeneratedImage,
    GenerationWarning,
    Progress,
    Queued,
)
from backend.draft import Draft
from backend.errors import Violation
from backend.param_checks import MAX_LORAS
from backend.params import GenerationParams, ImageFormat, Lora
from backend.prompt_syntax import PromptSyntax
from backend.source_picture import SourcePicture
from backend.upscale import LANCZOS, Enlargement
from proto import text2image_pb2 as pb

M = TypeVar("M", bound=Message)

FORMAT_FROM_PB = {
    pb.IMAGE_FORMAT_UNSPECIFIED: ImageFormat.PNG,
    pb.IMAGE_FORMAT_PNG: ImageFormat.PNG,
    pb.IMAGE_FORMAT_JPEG: ImageFormat.JPEG,
    pb.IMAGE_FORMAT_WEBP: ImageFormat.WEBP,
}
FORMAT_TO_PB = {kind: number for number, kind in FORMAT_FROM_PB.items() if number}
SYNTAX_FROM_PB = {
    pb.PROMPT_SYNTAX_UNSPECIFIED: PromptSyntax.PLAIN,
    pb.PROMPT_SYNTAX_PLAIN: PromptSyntax.PLAIN,
    pb.PROMPT_SYNTAX_A1111: PromptSyntax.A1111,
}
SYNTAX_TO_PB = {syntax: number for number, syntax in SYNTAX_FROM_PB.items() if number}
UNKNOWN_SYNTAX = Violation(
    "prompt_syntax", f"Must be one of {', '.join(pb.PromptSyntax.keys())}.", "UNKNOWN"
)
UNKNOWN_FORMAT = Violation(
    "output_format", f"Must be one of {', '.join(pb.ImageFormat.keys())}.", "UNKNOWN"
)
EXACTNESS_TO_PB = {
    Exactness.CERTIFIED: pb.EXACTNESS_CERTIFIED,
    Exactness.TOLERANT: pb.EXACTNESS_TOLERANT,
}


def draft_from_pb(
    request: pb.GenerateImageRequest, request_id: str, max_answer_bytes: int | None = None
) -> Draft:
    """The request, unvalidated; `request_id` is the caller's or a generated one."""
    early_violations = [] if request.output_format in FORMAT_FROM_PB else [UNKNOWN_FORMAT]
    early_violations += [] if request.prompt_syntax in SYNTAX_FROM_PB else [UNKNOWN_SYNTAX]
    return Draft(
        request_id=request_id,
        is_named=bool(request.request_id),
        prompt=request.prompt,
        height=request.height if request.HasField("height") else None,
        width=request.width if request.HasField("width") else None,
        guidance_scale=request.guidance_scale if request.HasField("guidance_scale") else None,
        num_inference_steps=(
            request.num_inference_steps if request.HasField("num_inference_steps") else None
        ),
        negative_prompt=request.negative_prompt,
        seed=request.seed if request.HasField("seed") else None,
        num_images=request.num_images if request.HasField("num_images") else None,
        scheduler=request.scheduler,
        model=request.model,
        output_format=FORMAT_FROM_PB.get(request.output_format, ImageFormat.PNG),
        preview_interval=(
            request.preview_interval if request.HasField("preview_interval") else None
        ),
        # one more than allowed, so that validation notices too many
        loras=tuple(_lora_from_pb(lora) for lora in request.loras[: MAX_LORAS + 1]),
        init_image=request.init_image,
        mask=request.mask,
        strength=request.strength if request.HasField("strength") else None,
        upscale=request.upscale if request.HasField("upscale") else None,
        upscale_strength=(
            request.upscale_strength if request.HasField("upscale_strength") else None
        ),
        max_answer_bytes=max_answer_bytes,
        prompt_syntax=SYNTAX_FROM_PB.get(request.prompt_syntax, PromptSyntax.PLAIN),
        clip_skip=request.clip_skip if request.HasField("clip_skip") else None,
        early_violations=tuple(early_violations),
    )


def _lora_from_pb(lora: pb.Lora) -> Lora:
    return Lora(lora.name, lora.scale if lora.HasField("scale") else 1.0)


def params_to_pb(params: GenerationParams, request_id: str) -> pb.GenerateImageRequest:
    """A request that reproduces the same images, given the same files."""
    return pb.GenerateImageRequest(
        prompt=params.prompt,
        height=params.height,
        width=params.width,
        guidance_scale=params.guidance_scale,
        num_inference_steps=params.num_inference_steps,
        negative_prompt=params.negative_prompt,
        seed=params.seed,
        num_images=params.num_images,
        scheduler=params.scheduler,
        model=params.model,
        output_format=FORMAT_TO_PB[params.output_format],
        request_id=request_id,
        preview_interval=params.preview_interval,
        loras=[pb.Lora(name=lora.name, scale=lora.scale) for lora in params.loras],
        strength=params.strength if params.init_image is not None else None,
        prompt_syntax=SYNTAX_TO_PB[params.prompt_syntax],
        clip_skip=params.clip_skip,
        upscale=params.upscale if params.upscaled is not None else None,
        upscale_strength=params.upscale_strength if params.upscaled is not None else None,
    )


def image_to_pb(image: GeneratedImage) -> pb.Image:
    return pb.Image(
        data=image.data,
        mime_type=image.mime_type,
        width=image.width,
        height=image.height,
        seed=image.seed,
        nsfw_detected=image.nsfw_detected,
    )


def enlargement_from_pb(request: pb.UpscaleRequest) -> Enlargement:
    """The request as it came."""
    known_format = request.output_format in FORMAT_FROM_PB
    return Enlargement(
        data=request.image,
        scale=round(request.scale, 6) if request.HasField("scale") else 2.0,
        upscaler=request.upscaler or LANCZOS,
        output_format=FORMAT_FROM_PB.get(request.output_format, ImageFormat.PNG),
        early_violations=() if known_format else (UNKNOWN_FORMAT,),
    )


def info_to_pb(done: Done) -> pb.GenerationInfo:
    timings = done.timings
    return pb.GenerationInfo(
        request_id=done.request_id,
        request=params_to_pb(done.params, done.request_id),
        model=done.model.name,
        model_revision=done.model.revision,
        device=done.model.device,
        dtype=done.model.dtype,
        runtime=done.model.runtime,
        exactness=EXACTNESS_TO_PB[done.exactness],
        timings=pb.Timings(
            queued_ms=timings.queued_ms,
            encode_ms=timings.encode_ms,
            denoise_ms=timings.denoise_ms,
            decode_ms=timings.decode_ms,
            total_ms=timings.total_ms,
        ),
        warnings=warnings_to_pb(done.warnings),
        init_image_sha256=_sha256(done.params.init_image),
        mask_sha256=_sha256(done.params.mask),
    )


def _sha256(picture: SourcePicture | None) -> str:
    return "" if picture is None else picture.sha256


def warnings_to_pb(warnings: Iterable[GenerationWarning]) -> list[pb.GenerationWarning]:
    return [
        pb.GenerationWarning(
            field=warning.field,
            description=warning.description,
            reason=warning.reason,
            excerpt=warning.excerpt,
            alternatives=warning.alternatives,
        )
        for warning in warnings
    ]


def event_to_pb(event: Event, request_id: str) -> pb.GenerateImageEvent:
    out = pb.GenerateImageEvent(request_id=request_id)
    match event:
        case Queued():
            out.queued.position = event.position
            out.queued.estimated_wait_ms = round(event.estimated_wait_ms)
            out.queued.message = event.message
        case Progress():
            out.progress.step = event.step
            out.progress.num_steps = event.num_steps
            out.progress.eta_ms = round(event.eta_ms)
            if event.preview is not None:
                out.progress.preview.CopyFrom(image_to_pb(event.preview))
        case FinishedImage():
            out.image.index = event.index
            out.image.image.CopyFrom(image_to_pb(event.image))
        case Done():
            out.done.CopyFrom(info_to_pb(event))
    return out
