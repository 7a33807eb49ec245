"""POST /sdapi/v1/png-info, extra-single-image and interrogate."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Annotated, TypeVar

from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from backend.transport.http import protojson
from backend.transport.http.a1111 import infotext
from backend.transport.http.a1111.generate import status_of
from backend.transport.http.a1111.problem import not_found, unreadable
from backend.transport.http.a1111.upscalers import FILTERS, enlarge, find_network, unknown
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
R = TypeVar("R")

MAX_BODY_BYTES = 16 * 2**20
MAX_PIXELS = 4096 * 4096  # of an input or output image
FORMATS = ("PNG", "JPEG", "WEBP")

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

    def scale(self, image: Image.Image) -> float:
        """How many times as large the picture becomes, before it is cropped."""
        if self.resize_mode == 0:
            return self.upscaling_resize
        wanted = (self.upscaling_resize_w, self.upscaling_resize_h)
        ratios = [want / side for want, side in zip(wanted, image.size, strict=True)]
        return max(ratios) if self.upscaling_crop else min(ratios)

    def resample(self, image: Image.Image, resampling: Image.Resampling) -> Image.Image:
        """The whole work by a filter. Raises Problem: the result is too large."""
        if self.resize_mode == 0 or not self.upscaling_crop:
            return _resize(image, self.scale(image), resampling)
        return self.crop(image, resampling)

    def crop(self, image: Image.Image, resampling: Image.Resampling) -> Image.Image:
        """Cover the size that is asked for, if one is, and cut off what is more."""
        if self.resize_mode == 0 or not self.upscaling_crop:
            return image
        wanted = (self.upscaling_resize_w, self.upscaling_resize_h)
        check_pixels(*wanted)
        return ImageOps.fit(image, wanted, resampling)


async def png_info(request: Request) -> Response:
    _expect_json(request)
    with holding() as take:
        body = await read_body(request, MAX_BODY_BYTES, take)
        answer = await _aside(request, lambda: _read_info(body))
    return await respond(request, lambda: json.dumps(answer).encode())


async def extra_single_image(request: Request) -> Response:
    _expect_json(request)
    with holding() as take:
        body = await read_body(request, MAX_BODY_BYTES, take)
        asked, image = await _aside(request, lambda: _opened(body))
        if asked.upscaler_1 in FILTERS:
            large = await _aside(request, lambda: _resampled(asked, image))
        else:
            large = await _enlarged(request, asked, image)
        encoded = await _aside(request, lambda: _encode(large, infotext.infotext_of(image)))
    answer = {"image": encoded, "html_info": ""}
    return await respond(request, lambda: json.dumps(answer).encode())


async def _enlarged(request: Request, asked: Upscaling, image: Image.Image) -> Image.Image:
    """By a network, which is asked for no less than the picture's own size.

    Raises:
        Problem: there is no such network, or it refuses.
    """
    status = await status_of(request)
    network = find_network(asked.upscaler_1, status)
    if network is None:
        raise unknown(status)
    source, scale = await _aside(request, lambda: _plain_png(asked, image))
    data = await enlarge(request, source, max(1.0, scale), network)
    return await _aside(request, lambda: _finished(asked, data, scale))


def _finished(asked: Upscaling, data: bytes, scale: float) -> Image.Image:
    large = Image.open(io.BytesIO(data)).convert("RGB")
    if scale < 1:
        large = _resize(large, scale, Image.Resampling.LANCZOS)
    return asked.crop(large, Image.Resampling.LANCZOS)


async def interrogate(request: Request) -> Response:
    text = "This server has no model that describes pictures; png-info tells of those made here."
    raise not_found(text)


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


def _expect_json(request: Request) -> None:
    if media_type(request) != "application/json":
        raise unsupported_media_type(("application/json",))


async def _aside(request: Request, work: Callable[[], R]) -> R:
    """Run on another thread, one at a time; skipped if the caller disconnects before its turn."""
    loop = asyncio.get_running_loop()
    return await unless_disconnected(request, loop.run_in_executor(PICTURES, work))


def _read_info(body: bytes) -> Json:
    image = open_picture(_read(PngInfoRequest, body).image.strip())
    text = infotext.infotext_of(image)
    items = {name: value for name, value in image.info.items() if isinstance(value, str)}
    return {"info": text, "items": items, "parameters": infotext.parse(text) if text else {}}


def _opened(body: bytes) -> tuple[Upscaling, Image.Image]:
    asked = _read(Upscaling, body)
    return asked, open_picture(asked.image)


def _resampled(asked: Upscaling, image: Image.Image) -> Image.Image:
    resampling = FILTERS[asked.upscaler_1]
    with _whole():
        picture = upright(image)
        return picture if resampling is None else asked.resample(picture, resampling)


def _plain_png(asked: Upscaling, image: Image.Image) -> tuple[bytes, float]:
    """Without transparency and notes; and how many times as large it becomes."""
    with _whole():
        picture = on_white(image)
        return to_png(picture), asked.scale(picture)


@contextmanager
def _whole() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise bad_fields([("image", "The picture is damaged.", "MALFORMED")]) from None


def _read(kind: type[T], body: bytes) -> T:
    try:
        return kind.model_validate(protojson.load(body))
    except ValidationError as error:
        raise unreadable(error) from None


def upright(image: Image.Image) -> Image.Image:
    """Rotate upright, and convert to a mode that can be resampled."""
    upright = ImageOps.exif_transpose(image)
    return upright.convert("RGBA" if upright.has_transparency_data else "RGB")


def on_white(image: Image.Image) -> Image.Image:
    """Upright, in RGB."""
    picture = upright(image)
    if picture.mode == "RGB":
        return picture
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def to_png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=4)
    return out.getvalue()


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
