"""Converts between protobuf messages and domain objects."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from google.protobuf.message import Message

from backend.domain import (
    Done,
    Event,
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
from backend.transport.rpc.messages import message
from backend.upscale import LANCZOS, Enlargement
from proto import text2image_pb2 as pb

FORMAT_FROM_PB = {
    pb.IMAGE_FORMAT_UNSPECIFIED: ImageFormat.PNG,
    pb.IMAGE_FORMAT_PNG: ImageFormat.PNG,
    pb.IMAGE_FORMAT_JPEG: ImageFormat.JPEG,
    pb.IMAGE_FORMAT_WEBP: ImageFormat.WEBP,
}
SYNTAX_FROM_PB = {
    pb.PROMPT_SYNTAX_UNSPECIFIED: PromptSyntax.PLAIN,
    pb.PROMPT_SYNTAX_PLAIN: PromptSyntax.PLAIN,
    pb.PROMPT_SYNTAX_A1111: PromptSyntax.A1111,
}
UNKNOWN_SYNTAX = Violation(
    "prompt_syntax", f"Must be one of {', '.join(pb.PromptSyntax.keys())}.", "UNKNOWN"
)
UNKNOWN_FORMAT = Violation(
    "output_format", f"Must be one of {', '.join(pb.ImageFormat.keys())}.", "UNKNOWN"
)


def draft_from_pb(
    request: pb.GenerateImageRequest, request_id: str, max_answer_bytes: int | None = None
) -> Draft:
    """The request, unvalidated; `request_id` is the caller's or a generated one."""
    early_violations = [] if request.output_format in FORMAT_FROM_PB else [UNKNOWN_FORMAT]
    early_violations += [] if request.prompt_syntax in SYNTAX_FROM_PB else [UNKNOWN_SYNTAX]
    return Draft(
        **_given(request, {"request_id", "output_format", "loras", "prompt_syntax"}),
        request_id=request_id,
        is_named=bool(request.request_id),
        output_format=FORMAT_FROM_PB.get(request.output_format, ImageFormat.PNG),
        # one more than allowed, so that validation notices too many
        loras=tuple(_lora_from_pb(lora) for lora in request.loras[: MAX_LORAS + 1]),
        max_answer_bytes=max_answer_bytes,
        prompt_syntax=SYNTAX_FROM_PB.get(request.prompt_syntax, PromptSyntax.PLAIN),
        early_violations=tuple(early_violations),
    )


def _given(request: Message, left_out: Collection[str]) -> dict[str, Any]:
    """The other fields by name; optional ones that are not set are None."""
    fields = [one for one in request.DESCRIPTOR.fields if one.name not in left_out]
    return {
        field.name: getattr(request, field.name)
        if not field.has_presence or request.HasField(field.name)
        else None
        for field in fields
    }


def _lora_from_pb(lora: pb.Lora) -> Lora:
    return Lora(lora.name, lora.scale if lora.HasField("scale") else 1.0)


def params_to_pb(params: GenerationParams, request_id: str) -> pb.GenerateImageRequest:
    """A request that reproduces the same images, given the same files."""
    return message(
        pb.GenerateImageRequest,
        params,
        request_id=request_id,
        init_image=b"",
        mask=b"",
        strength=params.strength if params.init_image is not None else None,
        upscale=params.upscale if params.upscaled is not None else None,
        upscale_strength=params.upscale_strength if params.upscaled is not None else None,
    )


def image_to_pb(image: GeneratedImage) -> pb.Image:
    return message(pb.Image, image)


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
    return message(
        pb.GenerationInfo,
        done,
        request=params_to_pb(done.params, done.request_id),
        model=done.model.name,
        model_revision=done.model.revision,
        device=done.model.device,
        dtype=done.model.dtype,
        runtime=done.model.runtime,
        init_image_sha256=_sha256(done.params.init_image),
        mask_sha256=_sha256(done.params.mask),
    )


def _sha256(picture: SourcePicture | None) -> str:
    return "" if picture is None else picture.sha256


def warnings_to_pb(warnings: Iterable[GenerationWarning]) -> list[pb.GenerationWarning]:
    return [message(pb.GenerationWarning, warning) for warning in warnings]


def event_to_pb(event: Event, request_id: str) -> pb.GenerateImageEvent:
    kinds = pb.GenerateImageEvent
    match event:
        case Queued():
            wait_ms = round(event.estimated_wait_ms)
            queued = message(kinds.Queued, event, estimated_wait_ms=wait_ms)
            return kinds(request_id=request_id, queued=queued)
        case Progress():
            progress = message(kinds.Progress, event, eta_ms=round(event.eta_ms))
            return kinds(request_id=request_id, progress=progress)
        case FinishedImage():
            return kinds(request_id=request_id, image=message(kinds.FinishedImage, event))
        case Done():
            return kinds(request_id=request_id, done=info_to_pb(event))
