"""The Connect protocol, for every rpc of the contract: https://connectrpc.com/docs/protocol.

Unary rpcs answer with plain JSON or protobuf; streams come enveloped, or as Server-Sent Events to
a client that sends plain JSON.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from backend.transport.http import picture, protojson, sse
from backend.transport.http.body import (
    media_type,
    parse_aside,
    read_body,
    unless_hung_up,
    unsupported_media_type,
)
from backend.transport.http.problem import Problem, connect_error, malformed
from backend.transport.http.upstream import Upstream, caller_of
from backend.transport.wire import is_bounded

Endpoint = Callable[[Request], Awaitable[Response]]

JSON = "application/json"
PROTO = "application/proto"
ENVELOPE = struct.Struct(">BI")  # flags, length
COMPRESSED = 0b01
END_STREAM = 0b10


def endpoint(method: MethodDescriptor) -> Endpoint:
    """The Starlette endpoint of one rpc."""
    answer = _stream if method.server_streaming else _unary

    async def serve(request: Request) -> Response:
        _check_version(request)
        upstream: Upstream = request.app.state.upstream
        return await answer(upstream, method, request)

    return serve


def to_json(message: Message) -> dict[str, Any]:
    """ProtoJSON, with the fields that are zero: dashboards and people look for them."""
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


def _check_version(request: Request) -> None:
    if request.headers.get("connect-protocol-version", "1") != "1":
        raise malformed('Connect-Protocol-Version must be "1".')


async def _unary(upstream: Upstream, method: MethodDescriptor, request: Request) -> Response:
    codec = media_type(request)
    body = await read_body(request)
    message = await parse_aside(body, lambda body: _decode(codec, body, method))
    wanted = picture.negotiate(method, message, request)
    answer = await unless_hung_up(request, upstream.call(method, message, caller_of(request)))
    if wanted:
        return picture.response(answer)
    return Response(await asyncio.to_thread(_encode, codec, answer), media_type=codec)


async def _stream(upstream: Upstream, method: MethodDescriptor, request: Request) -> Response:
    if request.method == "GET":
        return await sse.from_query(upstream, method, request)
    codec = media_type(request)
    if codec == JSON:
        return await sse.from_body(upstream, method, request)
    if codec not in ("application/connect+json", "application/connect+proto"):
        raise unsupported_media_type(
            (JSON, "application/connect+json", "application/connect+proto")
        )
    codec = codec.replace("connect+", "")
    body = await read_body(request)
    envelopes = _enveloped(upstream, method, request, codec, body)
    return StreamingResponse(envelopes, media_type=request.headers["content-type"])


async def _enveloped(
    upstream: Upstream, method: MethodDescriptor, request: Request, codec: str, body: bytes
) -> AsyncGenerator[bytes]:
    end: dict[str, Any] = {}
    try:
        content = _single_envelope(body)
        message = await parse_aside(content, lambda content: _decode(codec, content, method))
        async with aclosing(upstream.stream(method, message, caller_of(request))) as events:
            async for event in events:
                yield _envelope(0, await asyncio.to_thread(_encode, codec, event))
    except Problem as problem:
        end = {"error": connect_error(problem)}
        if retry_after := problem.headers.get("Retry-After"):
            end["metadata"] = {"retry-after": [retry_after]}
    yield _envelope(END_STREAM, json.dumps(end).encode())


def _envelope(flags: int, payload: bytes) -> bytes:
    return ENVELOPE.pack(flags, len(payload)) + payload


def _single_envelope(body: bytes) -> bytes:
    if len(body) < ENVELOPE.size:
        raise malformed("The envelope is cut short.")
    flags, length = ENVELOPE.unpack_from(body)
    if len(body) != ENVELOPE.size + length or flags & ~COMPRESSED:
        raise malformed("Send exactly one enveloped message.")
    if flags & COMPRESSED:
        raise Problem(grpc.StatusCode.UNIMPLEMENTED, "Compressed requests are not supported.")
    return body[ENVELOPE.size :]


def _decode(codec: str, body: bytes, method: MethodDescriptor) -> Message:
    message_class = GetMessageClass(method.input_type)
    if codec == JSON:
        return protojson.parse(body, message_class)
    if codec == PROTO:
        if not is_bounded(body, method.input_type):
            raise malformed("The message has more fields than any request has.")
        try:
            return message_class.FromString(body)
        except DecodeError:
            raise malformed("malformed request message") from None
    raise unsupported_media_type((JSON, PROTO))


def _encode(codec: str, message: Message) -> bytes:
    if codec == PROTO:
        return message.SerializeToString()
    return json.dumps(to_json(message)).encode()
