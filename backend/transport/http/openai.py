"""OpenAI's image API, as its SDKs call it: /v1/images/generations and /v1/models.

https://platform.openai.com/docs/api-reference/images/create
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backend.transport.http import protojson, sse
from backend.transport.http.body import (
    media_type,
    parse_aside,
    read_body,
    unless_hung_up,
    unsupported_media_type,
)
from backend.transport.http.openai_request import ImagesRequest, param_of, read_request
from backend.transport.http.picture import withheld
from backend.transport.http.problem import Json, Problem, connect_code
from backend.transport.http.upstream import SERVICE, Upstream, caller_of
from proto import text2image_pb2 as pb

GENERATE = SERVICE.methods_by_name["StreamGenerateImage"]
GET_STATUS = SERVICE.methods_by_name["GetStatus"]
# A comment: the response begins, and its heartbeat with it, long before the first preview.
ACCEPTED = b": accepted\n\n"
# What OpenAI answers when its moderation blocks a picture.
OPENAI_BLOCKED = 400


async def generate(request: Request) -> Response:
    """POST /v1/images/generations."""
    if media_type(request) != "application/json":
        raise unsupported_media_type(("application/json",))
    body = await read_body(request)
    asked = await parse_aside(body, lambda body: read_request(protojson.load(body)))
    message = asked.message(request.headers.get("idempotency-key", ""))
    upstream: Upstream = request.app.state.upstream
    events = upstream.stream(GENERATE, message, caller_of(request))
    if asked.stream:
        return await sse.respond(request, _streamed(events, asked))
    images = await unless_hung_up(request, _collect(events))
    return Response(await asyncio.to_thread(_answer, images), media_type="application/json")


async def list_models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": await _models(request)})


async def get_model(request: Request) -> Response:
    for model in await _models(request):
        if model["id"] == request.path_params["model"]:
            return JSONResponse(model)
    raise Problem(grpc.StatusCode.NOT_FOUND, "No such model; see /v1/models.")


def error(problem: Problem) -> Json:
    """OpenAI's error object; `param` and `code` tell what a program needs."""
    violations = problem.violations
    violation = violations[0] if violations else None
    named = "; ".join(f"{param_of(v.field)}: {v.description}" for v in violations)
    code = violation.reason if violation else problem.reason or connect_code(problem.code)
    blocked = problem.reason == "NSFW_DETECTED"
    return {
        "error": {
            "message": named or problem.message,
            "type": _error_type(problem.http_status),
            "param": param_of(violation.field) if violation else None,
            "code": "moderation_blocked" if blocked else code.lower(),
        }
    }


def _error_type(http_status: int) -> str:
    if http_status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if http_status < 500 else "server_error"


async def _models(request: Request) -> list[Json]:
    upstream: Upstream = request.app.state.upstream
    call = upstream.call(GET_STATUS, pb.GetStatusRequest(), caller_of(request))
    status = await unless_hung_up(request, call)
    assert isinstance(status, pb.GetStatusResponse)
    since = int(time.time() - status.uptime_s)
    return [
        {"id": model.name, "object": "model", "created": since, "owned_by": "text2image"}
        for model in status.models
    ]


async def _collect(events: AsyncGenerator[Any]) -> list[pb.Image]:
    """Every picture, in the order of its index; streamed, so that none is too large."""
    async with aclosing(events):
        images = {e.image.index: e.image.image async for e in events if e.HasField("image")}
    if all(image.nsfw_detected for image in images.values()):
        raise withheld(http_status=OPENAI_BLOCKED)
    return [images[index] for index in sorted(images)]


def _answer(images: list[pb.Image]) -> bytes:
    data = [_datum(image) for image in images]
    return json.dumps({"created": int(time.time()), "data": data, **_looks(images[0])}).encode()


def _datum(image: pb.Image) -> Json:
    """A withheld picture keeps its place, without data."""
    return {
        "b64_json": None if image.nsfw_detected else _b64(image),
        "seed": image.seed,
        "nsfw_detected": image.nsfw_detected,
    }


def _looks(image: pb.Image) -> Json:
    return {
        "background": "opaque",
        "output_format": image.mime_type.removeprefix("image/"),
        "size": f"{image.width}x{image.height}",
    }


def _b64(image: pb.Image) -> str:
    return base64.b64encode(image.data).decode()


async def _streamed(events: AsyncGenerator[Any], asked: ImagesRequest) -> AsyncGenerator[bytes]:
    begun = False
    previews = 0
    try:
        async with aclosing(events):
            async for event in events:
                if not begun:
                    begun = True
                    yield ACCEPTED
                if event.progress.HasField("preview") and previews < (asked.partial_images or 0):
                    yield await asyncio.to_thread(_partial, event.progress.preview, previews)
                    previews += 1
                elif event.HasField("image"):
                    yield await asyncio.to_thread(_completed, event.image.image)
    except Problem as problem:
        if not begun:
            raise
        yield sse.event("error", error(problem))


def _partial(preview: pb.Image, index: int) -> bytes:
    data = _streamed_data("image_generation.partial_image", preview)
    return sse.event(data["type"], {**data, "partial_image_index": index})


def _completed(image: pb.Image) -> bytes:
    if image.nsfw_detected:
        return sse.event("error", error(withheld(http_status=OPENAI_BLOCKED)))
    # No tokens are counted here: null rather than a made-up number.
    data = {**_streamed_data("image_generation.completed", image), "usage": None}
    return sse.event(data["type"], {**data, "seed": image.seed})


def _streamed_data(kind: str, image: pb.Image) -> Json:
    return {
        "type": kind,
        "b64_json": _b64(image),
        "created_at": int(time.time()),
        "quality": "auto",
        **_looks(image),
    }
