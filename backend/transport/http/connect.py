"""The Connect protocol for every rpc: https://connectrpc.com/docs/protocol.

Unary rpcs answer with plain JSON or protobuf. Streams are enveloped, or sent as Server-Sent Events
to clients that send plain JSON.
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

from backend.errors import InvalidParams
from backend.transport.http import picture, protojson, sse
from backend.transport.http.body import (
    max_bytes,
    media_type,
    parse_aside,
    read_message,
    unless_disconnected,
    unpacked,
    unsupported_media_type,
)
from backend.transport.http.compression import (
    SMALLEST_BYTES,
    accepts_gzip,
    is_gzip,
    pack,
    respond,
)
from backend.transport.http.problem import Problem, connect_error, from_error, malformed
from backend.transport.http.upstream import REFUSED, SERVICE, Upstream, caller_of, path_of
from backend.transport.wire import TooManyFields, check

Endpoint = Callable[[Request], Awaitable[Response]]

JSON = "application/json"
PROTO = "application/proto"
ENVELOPED = ("application/connect+json", "application/connect+proto")
ENVELOPE = struct.Struct(">BI")  # flags, length
COMPRESSED = 0b01
END_STREAM = 0b10

_STREAMS = {path_of(method) for method in SERVICE.methods if method.server_streaming}


def endpoint(method: MethodDescriptor) -> Endpoint:
    """The Starlette endpoint of one rpc."""
    answer = _stream if method.server_streaming else _unary

    async def serve(request: Request) -> Response:
        _check_version(request)
        upstream: Upstream = request.app.state.upstream
        return await answer(upstream, method, request)

    return serve


def to_json(message: Message) -> dict[str, Any]:
    """ProtoJSON including fields that are zero, which dashboards and people expect."""
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


def _check_version(request: Request) -> None:
    if request.headers.get("connect-protocol-version", "1") != "1":
        raise malformed('Connect-Protocol-Version must be "1".')


def is_enveloped(request: Request) -> bool:
    """Whether a streaming rpc is called in the Connect protocol; the answer is enveloped."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return request.method == "POST" and request.url.path in _STREAMS and kind in ENVELOPED


def refusal(request: Request, problem: Problem) -> Response:
    """A stream that consists of its end message only."""
    request.scope.setdefault("state", {})[REFUSED] = problem.http_status
    return Response(_end(problem), media_type=request.headers["content-type"])


async def _unary(upstream: Upstream, method: MethodDescriptor, request: Request) -> Response:
    codec = media_type(request)

    async def parse(body: bytes) -> Message:
        return await parse_aside(body, lambda body: _decode(codec, body, method))

    message = await read_message(request, method.input_type, parse)
    wanted = picture.negotiate(method, message, request)
    answer = await unless_disconnected(request, upstream.call(method, message, caller_of(request)))
    if wanted:
        return picture.response(answer)
    return await respond(request, lambda: _encode(codec, answer), codec)


async def _stream(upstream: Upstream, method: MethodDescriptor, request: Request) -> Response:
    if request.method == "GET":
        return await sse.from_query(upstream, method, request)
    codec = media_type(request)
    if codec == JSON:
        return await sse.from_body(upstream, method, request)
    if codec not in ENVELOPED:
        raise unsupported_media_type((JSON, *ENVELOPED))
    codec = codec.replace("connect+", "")
    is_packed = is_gzip(request.headers.get("connect-content-encoding", ""))

    async def parse(body: bytes) -> Message:
        content = await _single_message(body, is_packed, max_bytes(method.input_type))
        return await parse_aside(content, lambda content: _decode(codec, content, method))

    message = await read_message(request, method.input_type, parse)
    may_pack = accepts_gzip(request.headers.get("connect-accept-encoding", ""))
    events = upstream.stream(method, message, caller_of(request))
    return StreamingResponse(
        _enveloped(events, codec, may_pack),
        media_type=request.headers["content-type"],
        headers={"Connect-Content-Encoding": "gzip"} if may_pack else None,
    )


async def _enveloped(
    events: AsyncGenerator[Any], codec: str, may_pack: bool
) -> AsyncGenerator[bytes]:
    try:
        async with aclosing(events):
            async for event in events:
                yield await asyncio.to_thread(_message, codec, event, may_pack)
    except Problem as problem:
        yield _end(problem)
    else:
        yield _end()


def _message(codec: str, event: Message, may_pack: bool) -> bytes:
    payload = _encode(codec, event)
    if may_pack and len(payload) >= SMALLEST_BYTES:
        return _envelope(COMPRESSED, pack(payload))
    return _envelope(0, payload)


def _end(problem: Problem | None = None) -> bytes:
    end: dict[str, Any] = {}
    if problem is not None:
        end = {"error": connect_error(problem)}
        if headers := problem.headers:
            end["metadata"] = {name.lower(): [value] for name, value in headers.items()}
    return _envelope(END_STREAM, json.dumps(end).encode())


def _envelope(flags: int, payload: bytes) -> bytes:
    return ENVELOPE.pack(flags, len(payload)) + payload


async def _single_message(body: bytes, is_packed: bool, limit: int) -> bytes:
    """The content of the single envelope, at most `limit` bytes.

    Raises:
        Problem: with the codes that the protocol's conformance suite expects.
    """
    if not body:
        raise Problem(grpc.StatusCode.UNIMPLEMENTED, "Send one enveloped message; there is none.")
    if len(body) < ENVELOPE.size:
        raise malformed("The envelope is cut short.")
    flags, length = ENVELOPE.unpack_from(body)
    end = ENVELOPE.size + length
    if len(body) < end or flags & ~COMPRESSED:
        raise malformed("Send exactly one enveloped message.")
    if len(body) > end:
        raise Problem(grpc.StatusCode.UNIMPLEMENTED, "Send exactly one enveloped message.")
    content = body[ENVELOPE.size :]
    if not flags & COMPRESSED:
        return content
    if not is_packed:
        text = "The message is marked as compressed, without Connect-Content-Encoding: gzip."
        raise Problem(grpc.StatusCode.INTERNAL, text)
    return await unpacked(content, limit)


def _decode(codec: str, body: bytes, method: MethodDescriptor) -> Message:
    message_class = GetMessageClass(method.input_type)
    if codec == JSON:
        return protojson.parse(body, message_class)
    if codec == PROTO:
        try:
            check(body, method.input_type)
            return message_class.FromString(body)
        except TooManyFields:
            raise malformed("The message has more fields than any request has.") from None
        except InvalidParams as error:
            raise from_error(error) from None
        except DecodeError:
            raise malformed("malformed request message") from None
    raise unsupported_media_type((JSON, PROTO))


def _encode(codec: str, message: Message) -> bytes:
    if codec == PROTO:
        return message.SerializeToString()
    return json.dumps(to_json(message)).encode()
