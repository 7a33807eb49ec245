"""POST /sdapi/v1/img2img: pictures that start from a picture."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from PIL import Image, ImageChops, ImageOps
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from backend.transport.http import protojson
from backend.transport.http.a1111.generate import answer, message_for
from backend.transport.http.a1111.pictures import (
    MAX_BODY_BYTES,
    PICTURES,
    check_pixels,
    on_white,
    open_picture,
    to_png,
    upright,
)
from backend.transport.http.a1111.problem import not_found
from backend.transport.http.a1111.request import Float, Generation, Int, Text, read_request
from backend.transport.http.body import (
    holding,
    media_type,
    read_body,
    unless_disconnected,
    unsupported_media_type,
)
from backend.transport.http.problem import bad_fields
from proto import text2image_pb2 as pb

DEFAULT_STRENGTH = 0.75
STRETCH = 0  # A1111's "just resize"; its other modes crop here
WHITE_FROM = 128  # of a mask


class Img2Img(Generation):
    """The supported fields of A1111's request. Pictures are in base64."""

    init_images: Annotated[list[str], Field(min_length=1)] | None = None
    mask: Text = None
    denoising_strength: Float = None
    resize_mode: Int = None
    inpainting_mask_invert: Int = None
    inpaint_full_res: Any = None
    include_init_images: bool | None = None

    @property
    def warnings(self) -> list[str]:
        found = super().warnings
        if self.mask and self.inpaint_full_res:
            text = "the whole picture is drawn, not what is masked alone and larger."
            found.append(f"inpaint_full_res: {text}")
        return found

    def add_files(self, message: pb.GenerateImageRequest) -> None:
        """Put the pictures into `message`, in its size where it names one.

        Raises:
            Problem: one of them is not a picture, or too large.
        """
        assert self.init_images is not None
        picture = on_white(open_picture(self.init_images[0]))
        size = (message.width, message.height)
        if message.HasField("width") and message.HasField("height") and min(size) > 0:
            check_pixels(*size)
            picture = self._resize(picture, size)
        message.init_image = to_png(picture)
        if self.mask:
            mask = _of_mask(open_picture(self.mask))
            if self.inpainting_mask_invert:
                mask = ImageChops.invert(mask)
            mask = self._resize(mask, picture.size)
            message.mask = to_png(mask.point(lambda value: 255 if value >= WHITE_FROM else 0, "1"))

    def _resize(self, picture: Image.Image, size: tuple[int, int]) -> Image.Image:
        if picture.size == size:
            return picture
        if (self.resize_mode or STRETCH) == STRETCH:
            return picture.resize(size, Image.Resampling.LANCZOS)
        return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)


async def img2img(request: Request) -> Response:
    if media_type(request) != "application/json":
        raise unsupported_media_type(("application/json",))
    loop = asyncio.get_running_loop()
    with holding() as take:
        text = await read_body(request, MAX_BODY_BYTES, take)
        body = await loop.run_in_executor(PICTURES, protojson.load, text)
        asked = read_request(body, Img2Img)
        if asked.init_images is None:
            raise not_found("Init image not found")
        message, status = await message_for(request, asked)
        strength = asked.denoising_strength
        message.strength = DEFAULT_STRENGTH if strength is None else strength
        work = loop.run_in_executor(PICTURES, _add_files, asked, message)
        await unless_disconnected(request, work)
    echo = body if asked.include_init_images else {**body, "init_images": None, "mask": None}
    return await answer(request, asked, message, status, echo)


def _add_files(asked: Img2Img, message: pb.GenerateImageRequest) -> None:
    try:
        asked.add_files(message)
    except OSError:
        raise bad_fields([("init_images", "The picture is damaged.", "MALFORMED")]) from None


def _of_mask(image: Image.Image) -> Image.Image:
    """What a mask covers: by its transparency where it has some, as A1111 reads it."""
    mask = upright(image)
    if mask.mode == "RGBA" and mask.getchannel("A").getextrema()[0] < 255:  # type: ignore[operator]
        return mask.getchannel("A")
    return mask.convert("L")
