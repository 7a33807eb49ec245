"""POST /v1/images/generations: one answer with all images, or a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from backend.transport.http import protojson, sse
from backend.transport.http.body import (
    media_type,
    parse_aside,
    read_body,
    unless_disconnected,
    unsupported_media_type,
)
from backend.transport.http.compression import respond
from backend.transport.http.openai import answer
from backend.transport.http.openai.request import ImagesRequest, header_of, read_request
from backend.transport.http.openai.shelf import Shelf
from backend.transport.http.picture import withheld
from backend.transport.http.problem import bad_fields
from backend.transport.http.upstream import SERVICE, Upstream, caller_of
from proto import text2image_pb2 as pb

GENERATE = SERVICE.methods_by_name["StreamGenerateImage"]


async def generate(request: Request) -> Response:
    """POST /v1/images/generations."""
    if media_type(request) != "application/json":
        raise unsupported_media_type(("application/json",))
    body = await read_body(request)
    asked = await parse_aside(body, lambda body: read_request(protojson.load(body), ImagesRequest))
    request_id = request.headers.get("idempotency-key", "")
    return await draw(request, asked, asked.message(request_id, request.app.state.aliases))


async def draw(
    request: Request,
    asked: ImagesRequest,
    message: pb.GenerateImageRequest,
    ignored: Sequence[str] = (),
) -> Response:
    """Generate the images and answer in the requested form.

    `ignored`: names of what else had no effect.
    """
    shelf: Shelf = request.app.state.shelf
    if asked.wants_urls and shelf.ttl_s == 0:
        text = "Must be b64_json: this server keeps no pictures (TEXT2IMAGE_RESULT_TTL_S=0)."
        raise bad_fields([("response_format", text, "UNSUPPORTED")])
    upstream: Upstream = request.app.state.upstream
    events = upstream.stream(GENERATE, message, caller_of(request))
    headers = header_of([*asked.ignored(), *ignored])
    if asked.stream:
        response = await sse.respond(request, answer.streamed(events, asked))
        response.headers.update(headers)
        return response
    images = await unless_disconnected(request, _collect(events))
    shown = [image for image in images if not image.nsfw_detected]
    if not shown:
        raise withheld(http_status=answer.OPENAI_BLOCKED)
    num_withheld = len(images) - len(shown)
    shown = await asyncio.to_thread(answer.encoded, shown, asked.lossy)
    with_urls = asked.wants_urls or (asked.may_expect_urls and shelf.ttl_s > 0)
    places = [answer.address(request, shelf, image) for image in shown] if with_urls else []
    in_base64 = not asked.wants_urls
    return await respond(
        request,
        lambda: answer.body(shown, places, num_withheld, in_base64=in_base64),
        headers=headers,
    )


async def _collect(events: AsyncGenerator[Any]) -> list[pb.Image]:
    """All images in the order of their indices; streamed over gRPC, which has no size limit."""
    async with aclosing(events):
        images = {e.image.index: e.image.image async for e in events if e.HasField("image")}
    return [images[index] for index in sorted(images)]
