"""Server-Sent Events, for browsers' EventSource and for curl -N.

Each message is one event named after its oneof: `queued`, `progress`, `image`, `done`. A failure
before the first event is an ordinary HTTP error, a later one is the event `failed`.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from backend.transport.http import protojson
from backend.transport.http.body import (
    check_structure,
    parse_aside,
    read_body,
    read_message,
    unless_disconnected,
)
from backend.transport.http.lingering import Lingering
from backend.transport.http.problem import Problem, bad_fields, connect_error
from backend.transport.http.upstream import Upstream, caller_of

MEDIA_TYPE = "text/event-stream"
# Proxies close a silent connection after about a minute.
HEARTBEAT_S = 15.0
FINISHED = "finished"
# Delay after which a disconnected EventSource reconnects, and how long its request is kept.
RETRY_MS = 1000
GRACE_S = 5.0


async def from_body(upstream: Upstream, method: MethodDescriptor, request: Request) -> Response:
    """POST with a JSON message.

    Raises:
        Problem: for a failure before the first event.
    """
    _check_accept(request)
    kind = GetMessageClass(method.input_type)

    async def parse(body: bytes) -> Message:
        return await parse_aside(body, lambda body: protojson.parse(body, kind))

    message = await read_message(request, method.input_type, parse)
    return await respond(request, _events(upstream.stream(method, message, caller_of(request))))


async def from_query(upstream: Upstream, method: MethodDescriptor, request: Request) -> Response:
    """GET with ?message=<JSON>, since EventSource can't send a body.

    An EventSource reconnects when the stream ends and sends the last event's id. The end's id is
    answered with 204, which stops it; a request's id joins that request again, which continues
    for `GRACE_S` after the connection broke.
    """
    _check_accept(request)
    text = request.query_params.get("message")
    if text is None or set(request.query_params) != {"message"}:
        raise bad_fields([("message", "Give ?message=<JSON>, and nothing else.", "REQUIRED")])
    last_id = request.headers.get("last-event-id")
    if last_id == FINISHED:
        return Response(status_code=204)
    check_structure(text)
    fields = protojson.load(text)
    if not fields.get("request_id", fields.get("requestId")):
        fields["request_id"] = last_id or uuid.uuid4().hex
    message = protojson.from_dict(fields, GetMessageClass(method.input_type))
    await read_body(request)
    lingering: Lingering = request.app.state.lingering
    messages = upstream.stream(method, message, caller_of(request))
    events = _events(lingering.outlive(messages, GRACE_S))
    return await respond(request, _with_retry(events))


async def respond(
    request: Request, events: AsyncGenerator[bytes], *, heartbeat_s: float = HEARTBEAT_S
) -> Response:
    """Start the response with the first event, so that earlier failures have an HTTP status."""
    first = await unless_disconnected(request, _first(events))
    body = _with_heartbeat(_chain(first, events), heartbeat_s)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(body, media_type=MEDIA_TYPE, headers=headers)


def event(name: str, data: dict[str, Any], event_id: str = "") -> bytes:
    id_line = f"id: {event_id}\n" if event_id else ""
    return f"event: {name}\n{id_line}data: {json.dumps(data)}\n\n".encode()


def _check_accept(request: Request) -> None:
    accept = request.headers.get("accept", "*/*")
    if not any(kind in accept for kind in (MEDIA_TYPE, "text/*", "*/*")):
        text = f"This rpc streams: accept {MEDIA_TYPE}, or send application/connect+json."
        raise Problem(grpc.StatusCode.INVALID_ARGUMENT, text, http_status=406)


async def _events(messages: AsyncGenerator[Any]) -> AsyncGenerator[bytes]:
    begun = False
    try:
        async with aclosing(messages):
            async for message in messages:
                begun = True
                yield await asyncio.to_thread(_message_event, message)
    except Problem as problem:
        if not begun:
            raise
        yield event("failed", connect_error(problem), FINISHED)


async def _with_retry(events: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Add to the first event the delay after which an EventSource reconnects."""
    line = f"retry: {RETRY_MS}\n".encode()
    async with aclosing(events):
        async for chunk in events:
            yield line + chunk
            line = b""


def _message_event(message: Any) -> bytes:
    name = next((message.WhichOneof(o.name) for o in message.DESCRIPTOR.oneofs), None) or "message"
    event_id = FINISHED if name == "done" else message.request_id
    data = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    return event(name, data, event_id)


async def _first(events: AsyncGenerator[bytes]) -> bytes:
    return await anext(events, b"")


async def _chain(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


async def _with_heartbeat(events: AsyncGenerator[bytes], every_s: float) -> AsyncGenerator[bytes]:
    following: asyncio.Task[bytes] | None = None
    try:
        while True:
            following = following or asyncio.create_task(_first(events))
            done, _ = await asyncio.wait({following}, timeout=every_s)
            if not done:
                yield b": still here\n\n"
                continue
            chunk = following.result()
            if not chunk:
                return
            following = None
            yield chunk
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await events.aclose()
