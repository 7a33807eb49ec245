"""POST /sdapi/v1/png-info, extra-single-image and interrogate."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, TypeVar

from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from backend.transport.http import protojson
from backend.transport.http.a1111 import infotext
from backend.transport.http.a1111.problem import not_found, unreadable
from backend.transport.http.body import (
    holding,
    media_type,
    read_body,
    unless_disconnected,
    unsupported_media_type,
)
from backend.transport.http.compression import respond
from backend.transport.http.problem import Json, bad_fields

T = TypeVar("T", bound=BaseModel)

MAX_BODY_BYTES = 16 * 2**20
MAX_PIXELS = 4096 * 4096  # of an input or output image
FORMATS = ("PNG", "JPEG", "WEBP")
# A1111's name: the resampling filter. None: no change.
UPSCALERS = {
    "None": None,
    "Lanczos": Image.Resampling.LANCZOS,
    "Nearest": Image.Resampling.NEAREST,
}
SCALE = 4  # A1111's value for upscalers that support any scale

PICTURES = ThreadPoolExecutor(1, thread_name_prefix="pictures")


class PngInfoRequest(BaseModel):
    model_config = ConfigDict(extra="ignore")

    image: str


class Upscaling(BaseModel):
    """The supported fields of A1111's request; face restoration is not."""

    model_config = ConfigDict(extra="ignore")

    image: str
    resize_mode: Annotated[int, Field(ge=0, le=1)] = 0
    upscaling_resize: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0
    upscaling_resize_w: Annotated[int, Field(ge=1)] = 512
    upscaling_resize_h: Annotated[int, Field(ge=1)] = 512
    upscaling_crop: bool = True
    upscaler_1: str = "None"

    def upscale(self, image: Image.Image) -> Image.Image:
        """Upscale an image. Raises Problem: unknown upscaler, or the result is too large."""
        if self.upscaler_1 not in UPSCALERS:
            known = ", ".join(UPSCALERS)
            raise not_found(f"Upscaler not found. There are: {known}.")
        resampling = UPSCALERS[self.upscaler_1]
        if resampling is None:
            return image
        if self.resize_mode == 0:
            return _resize(image, self.upscaling_resize, resampling)
        wanted = (self.upscaling_resize_w, self.upscaling_resize_h)
        ratios = [want / side for want, side in zip(wanted, image.size, strict=True)]
        if not self.upscaling_crop:
            return _resize(image, min(ratios), resampling)
        check_pixels(*wanted)
        return ImageOps.fit(image, wanted, resampling)


async def png_info(request: Request) -> Response:
    return await _aside(request, _read_info)


async def extra_single_image(request: Request) -> Response:
    return await _aside(request, _upscale)


async def interrogate(request: Request) -> Response:
    text = "This server has no model that describes pictures; png-info tells of those made here."
    raise not_found(text)


def list_upscalers() -> list[Json]:
    return [
        {"name": name, "model_name": None, "model_path": None, "model_url": None, "scale": SCALE}
        for name in UPSCALERS
    ]


def open_picture(text: str) -> Image.Image:
    """Open an image in base64 or as a data URL, without decoding its pixels.

    Raises:
        Problem: it is not an image, or too large.
    """
    try:
        data = protojson.from_base64(text.partition(";base64,")[2] or text)
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (binascii.Error, ValueError, OSError, Image.DecompressionBombError):
        text = f"Not a picture that can be read: send {', '.join(FORMATS)} in base64."
        raise bad_fields([("image", text, "MALFORMED")]) from None
    check_pixels(*image.size)
    return image


async def _aside(request: Request, work: Callable[[bytes], Json]) -> Response:
    """Run on another thread, one at a time; skipped if the caller disconnects before its turn."""
    if media_type(request) != "application/json":
        raise unsupported_media_type(("application/json",))
    with holding() as take:
        body = await read_body(request, MAX_BODY_BYTES, take)
        loop = asyncio.get_running_loop()
        answer = await unless_disconnected(request, loop.run_in_executor(PICTURES, work, body))
    return await respond(request, lambda: json.dumps(answer).encode())


def _read_info(body: bytes) -> Json:
    image = open_picture(_read(PngInfoRequest, body).image.strip())
    text = infotext.infotext_of(image)
    items = {name: value for name, value in image.info.items() if isinstance(value, str)}
    return {"info": text, "items": items, "parameters": infotext.parse(text) if text else {}}


def _upscale(body: bytes) -> Json:
    asked = _read(Upscaling, body)
    image = open_picture(asked.image)
    try:
        made = asked.upscale(upright(image))
    except OSError:
        raise bad_fields([("image", "The picture is damaged.", "MALFORMED")]) from None
    return {"image": _encode(made, infotext.infotext_of(image)), "html_info": ""}


def _read(kind: type[T], body: bytes) -> T:
    try:
        return kind.model_validate(protojson.load(body))
    except ValidationError as error:
        raise unreadable(error) from None


def upright(image: Image.Image) -> Image.Image:
    """Rotate upright, and convert to a mode that can be resampled."""
    upright = ImageOps.exif_transpose(image)
    return upright.convert("RGBA" if upright.has_transparency_data else "RGB")


def _resize(image: Image.Image, factor: float, resampling: Image.Resampling) -> Image.Image:
    width, height = (max(1, round(side * min(factor, MAX_PIXELS))) for side in image.size)
    check_pixels(width, height)
    return image.resize((width, height), resampling)


def check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        text = f"At most {MAX_PIXELS} pixels, not {width}x{height}."
        raise bad_fields([("image", text, "TOO_MANY_PIXELS")])


def _encode(image: Image.Image, text: str) -> str:
    """A PNG in base64 with the original image's infotext."""
    info = PngInfo()
    if text:
        info.add_text("parameters", text)
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=info, compress_level=4)
    return base64.b64encode(out.getvalue()).decode()
