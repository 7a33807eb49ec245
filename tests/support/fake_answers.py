"""The fake service's answers: small, plausible and deterministic."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image as PillowImage

from proto import text2image_pb2 as pb

_FORMATS = {pb.IMAGE_FORMAT_JPEG: "JPEG", pb.IMAGE_FORMAT_WEBP: "WEBP"}


def ready_status() -> pb.GetStatusResponse:
    """A service that is ready, with one model."""
    return pb.GetStatusResponse(
        state=pb.GetStatusResponse.STATE_READY,
        message="Ready.",
        version="0.1.0",
        uptime_s=12.5,
        models=[
            pb.GetStatusResponse.Model(
                name="fake",
                source="tests",
                revision="0123abcd",
                loaded=True,
                num_parameters=1_000_000,
                native_height=64,
                native_width=64,
                default_scheduler="ddim",
                device="cpu",
                dtype="float32",
                runtime="torch",
                runtime_reason="the only one",
                num_text_layers=12,
                license="mit",
                figures=[pb.GetStatusResponse.Model.Figure(name="cats drawn", value="9 of 10")],
            )
        ],
        queue=pb.GetStatusResponse.Queue(capacity=64),
        limits=pb.GetStatusResponse.Limits(
            min_size=64,
            max_size=1024,
            size_multiple=8,
            max_pixels=1024 * 1024,
            max_num_inference_steps=150,
            max_num_images=8,
            max_prompt_characters=2000,
            max_picture_bytes=4_128_768,
            max_picture_pixels=16_777_216,
            max_negative_prompt_characters=2000,
            max_guidance_scale=50.0,
            max_seed=2**53 - 1,
        ),
        schedulers=["pndm", "ddim", "euler"],
        loras=["pixel"],
    )


def resolve(request: pb.GenerateImageRequest, num_steps: int) -> pb.GenerateImageRequest:
    """The request with its defaults, as Done repeats it."""
    resolved = pb.GenerateImageRequest()
    resolved.CopyFrom(request)
    defaults: dict[str, Any] = {
        "height": 64,
        "width": 64,
        "guidance_scale": 7.5,
        "num_inference_steps": num_steps,
        "num_images": 1,
        "preview_interval": 0,
    }
    for name, value in defaults.items():
        if not request.HasField(name):
            setattr(resolved, name, value)
    if not request.HasField("seed") or request.seed == -1:
        resolved.seed = 1234
    resolved.request_id = request.request_id or "made-up"
    resolved.scheduler = request.scheduler or "ddim"
    resolved.model = request.model or "fake"
    resolved.output_format = request.output_format or pb.IMAGE_FORMAT_PNG
    return resolved


def progress(
    request: pb.GenerateImageRequest, step: int, step_s: float
) -> pb.GenerateImageEvent.Progress:
    num_steps = request.num_inference_steps
    eta_ms = round((num_steps - step) * step_s * 1000)
    event = pb.GenerateImageEvent.Progress(step=step, num_steps=num_steps, eta_ms=eta_ms)
    if request.preview_interval and step % request.preview_interval == 0:
        data = paint(16, 16, request.seed + step, "JPEG")
        event.preview.CopyFrom(
            pb.Image(data=data, mime_type="image/jpeg", width=16, height=16, seed=request.seed)
        )
    return event


def finished(
    request: pb.GenerateImageRequest, index: int, withheld: bool, picture: bytes | None
) -> pb.Image:
    seed = request.seed + index
    name = _FORMATS.get(request.output_format, "PNG")
    data = picture or paint(request.width, request.height, seed, name)
    return pb.Image(
        data=b"" if withheld else data,
        mime_type=f"image/{name.lower()}",
        width=request.width,
        height=request.height,
        seed=seed,
        nsfw_detected=withheld,
    )


def paint(width: int, height: int, seed: int, name: str) -> bytes:
    """A picture of one colour, the seed's."""
    colour = (seed * 37 % 256, seed * 101 % 256, seed * 197 % 256)
    file = io.BytesIO()
    PillowImage.new("RGB", (width, height), colour).save(file, name)
    return file.getvalue()


def info(
    request: pb.GenerateImageRequest, warnings: Sequence[pb.GenerationWarning] = ()
) -> pb.GenerationInfo:
    return pb.GenerationInfo(
        request_id=request.request_id,
        request=request,
        model=request.model,
        model_revision="0123abcd",
        device="cpu",
        dtype="float32",
        runtime="torch",
        exactness=pb.EXACTNESS_CERTIFIED,
        timings=pb.Timings(
            queued_ms=1.0, encode_ms=2.0, denoise_ms=30.0, decode_ms=4.0, total_ms=37.0
        ),
        warnings=warnings,
    )


def enlarged(request: pb.UpscaleRequest) -> pb.Image:
    """The picture, its pixels repeated."""
    with PillowImage.open(io.BytesIO(request.image)) as picture:
        width, height = (round(side * request.scale) for side in picture.size)
        larger = picture.resize((width, height), PillowImage.Resampling.NEAREST)
    file = io.BytesIO()
    larger.save(file, "PNG")
    return pb.Image(data=file.getvalue(), mime_type="image/png", width=width, height=height)
