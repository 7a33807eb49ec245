"""POST /v1/images/edits and /v1/images/variations: pictures made from a picture."""

from __future__ import annotations

import asyncio
import io
from typing import TypeVar

from PIL import Image
from starlette.requests import Request
from starlette.responses import Response

from backend.source_picture import MAX_PICTURE_PIXELS
from backend.transport.http.body import (
    holding,
    media_type,
    read_body,
    unsupported_media_type,
)
from backend.transport.http.openai import form
from backend.transport.http.openai.form import Form
from backend.transport.http.openai.images import draw
from backend.transport.http.openai.request import ImagesRequest, Strength, read_request
from backend.transport.http.problem import bad_fields

FORMATS = ("PNG", "JPEG", "WEBP")
# The model needs words; these say nothing that the picture does not.
VARIATION_PROMPT = "a picture"
VARIATION_STRENGTH = 0.6


class EditsRequest(ImagesRequest):
    """A request for images, and how far to depart from the given one."""

    strength: Strength | None = None

    @property
    def event_kind(self) -> str:
        return "image_edit"


class VariationsRequest(EditsRequest):
    """OpenAI sends no prompt here; one helps."""

    prompt: str = VARIATION_PROMPT
    strength: Strength | None = VARIATION_STRENGTH


Asked = TypeVar("Asked", bound=EditsRequest)


async def edit(request: Request) -> Response:
    """POST /v1/images/edits."""
    return await _answer(request, EditsRequest)


async def vary(request: Request) -> Response:
    """POST /v1/images/variations."""
    return await _answer(request, VariationsRequest)


async def _answer(request: Request, kind: type[Asked]) -> Response:
    if media_type(request) != form.MEDIA_TYPE:
        raise unsupported_media_type((form.MEDIA_TYPE,))
    with holding() as take:
        body = await read_body(request, form.MAX_FORM_BYTES, take)
        sent = await form.parse(request.headers, body)
    asked = read_request(sent.fields, kind)
    request_id = request.headers.get("idempotency-key", "")
    message = asked.message(request_id, request.app.state.aliases)
    message.init_image = _first_image(sent)
    if masks := sent.named("mask"):
        if not masks[0]:
            raise bad_fields([("mask", "This file is empty.", "UNREADABLE")])
        loop = asyncio.get_running_loop()
        message.mask = await loop.run_in_executor(form.FORMS, as_mask, masks[0])
    if asked.strength is not None:
        message.strength = asked.strength
    return await draw(request, asked, message, _ignored_files(sent))


def _first_image(sent: Form) -> bytes:
    images = sent.named("image")
    if not images or not images[0]:
        text = "Send the picture to start from as a file of a form, PNG, JPEG or WEBP."
        raise bad_fields([("image", text, "REQUIRED")])
    return images[0]


def _ignored_files(sent: Form) -> list[str]:
    """One picture and one mask have an effect."""
    used = {"image", "mask"}
    further = [name for name in ("image", "mask") if len(sent.named(name)) > 1]
    return further + [name for name, _ in sent.files if name not in used]


def as_mask(file: bytes) -> bytes:
    """OpenAI's mask as ours: transparent where the picture is drawn anew; ours is white there.

    A mask without any transparency is taken for one of ours. What can't be read goes on as it is,
    for the service to say why.
    """
    try:
        image = Image.open(io.BytesIO(file), formats=FORMATS)
        if image.width * image.height > MAX_PICTURE_PIXELS or not image.has_transparency_data:
            return file
        alpha = image.convert("RGBA").getchannel("A")
    except (OSError, ValueError, Image.DecompressionBombError):
        return file
    if alpha.getextrema()[0] == 255:
        return file
    out = io.BytesIO()
    alpha.point(lambda value: 255 - value).save(out, "PNG", compress_level=1)
    return out.getvalue()
