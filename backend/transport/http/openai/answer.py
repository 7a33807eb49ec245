"""OpenAI's answer: images in base64 or by URL, in one response or as a stream of events.

An image that the safety checker withholds is left out and counted: clients treat an empty entry
in `data` as a broken answer and lose the other images.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from starlette.requests import Request

from backend.images import convert
from backend.params import ImageFormat
from backend.transport.http import sse
from backend.transport.http.openai import errors
from backend.transport.http.openai.request import ImagesRequest
from backend.transport.http.openai.shelf import PATH, Picture, Shelf
from backend.transport.http.picture import withheld
from backend.transport.http.problem import Json, Problem
from proto import text2image_pb2 as pb

Lossy = tuple[ImageFormat, int] | None

# A comment that starts the response, and so its heartbeat, long before the first preview.
ACCEPTED = b": accepted\n\n"
# OpenAI's status when its moderation blocks an image.
OPENAI_BLOCKED = 400


def encoded(images: Sequence[pb.Image], lossy: Lossy) -> list[pb.Image]:
    """The images in the requested format; slow, so call it on another thread."""
    return [_encoded(image, lossy) for image in images]


def address(request: Request, shelf: Shelf, image: pb.Image) -> str:
    """Store an image; returns its URL, with the host name that the client used."""
    name = shelf.put(Picture(image.data, image.mime_type))
    return str(request.base_url.replace(path=f"{PATH}{name}"))


def body(
    images: Sequence[pb.Image], addresses: Sequence[str], num_withheld: int, *, in_base64: bool
) -> bytes:
    """The JSON of one or more images: `in_base64`, by `addresses` if there are any, or both."""
    data: list[Json] = [{"seed": image.seed, "nsfw_detected": False} for image in images]
    for item, url in zip(data, addresses, strict=False):
        item["url"] = url
    for item, image in zip(data, images, strict=True):
        if in_base64:
            item["b64_json"] = _b64(image)
    content: Json = {"created": int(time.time()), "data": data, **_looks(images[0])}
    if num_withheld:
        content["nsfw_withheld"] = num_withheld
    return json.dumps(content).encode()


async def streamed(events: AsyncGenerator[Any], asked: ImagesRequest) -> AsyncGenerator[bytes]:
    """The events of a stream; a failure before the first event is raised."""
    kind = asked.event_kind
    begun = False
    previews = shown = num_withheld = 0
    try:
        async with aclosing(events):
            async for event in events:
                if not begun:
                    begun = True
                    yield ACCEPTED
                if event.progress.HasField("preview") and previews < (asked.partial_images or 0):
                    yield await asyncio.to_thread(_partial, kind, event.progress.preview, previews)
                    previews += 1
                elif event.HasField("image") and event.image.image.nsfw_detected:
                    num_withheld += 1
                elif event.HasField("image"):
                    shown += 1
                    yield await asyncio.to_thread(_completed, kind, event.image.image, asked.lossy)
        if num_withheld and not shown:
            raise withheld(http_status=OPENAI_BLOCKED)
        if num_withheld:  # as a comment, since SDKs fail on unknown events
            yield f": {num_withheld} withheld by the safety checker\n\n".encode()
    except Problem as problem:
        if not begun:
            raise
        yield sse.event("error", errors.body(problem))


def _partial(kind: str, preview: pb.Image, index: int) -> bytes:
    data = _streamed_data(f"{kind}.partial_image", preview)
    return sse.event(data["type"], {**data, "partial_image_index": index})


def _completed(kind: str, image: pb.Image, lossy: Lossy) -> bytes:
    image = _encoded(image, lossy)
    # We count no tokens: null instead of an invented number.
    data = {**_streamed_data(f"{kind}.completed", image), "usage": None}
    return sse.event(data["type"], {**data, "seed": image.seed})


def _encoded(image: pb.Image, lossy: Lossy) -> pb.Image:
    if lossy is None:
        return image
    image_format, quality = lossy
    found = pb.Image()
    found.CopyFrom(image)
    found.data, found.mime_type = convert(image.data, image_format, quality), image_format.mime_type
    return found


def _streamed_data(kind: str, image: pb.Image) -> Json:
    return {
        "type": kind,
        "b64_json": _b64(image),
        "created_at": int(time.time()),
        "quality": "auto",
        **_looks(image),
    }


def _looks(image: pb.Image) -> Json:
    return {
        "background": "opaque",
        "output_format": image.mime_type.removeprefix("image/"),
        "size": f"{image.width}x{image.height}",
    }


def _b64(image: pb.Image) -> str:
    return base64.b64encode(image.data).decode()
