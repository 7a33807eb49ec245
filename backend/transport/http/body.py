"""Reads request bodies with limits, and cancels work when the client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from starlette.requests import ClientDisconnect, Request

from backend.transport.http.compression import is_gzip, unpack
from backend.transport.http.problem import Problem, malformed

T = TypeVar("T")

# Far above any legitimate request: two fully escaped texts of 2,000 characters have 48 KB.
MAX_BODY_BYTES = 256 * 1024
# A message of 4 MB with its pictures in base64.
MAX_PICTURE_BODY_BYTES = 6 * 2**20
# Limit of JSON's commas, colons and opening brackets, including those inside strings: two texts of
# 2,000 characters plus a legitimate request. Each can become an object much larger than itself.
MAX_STRUCTURE = 5000
STRUCTURE = (b",", b":", b"[", b"{")
LARGE_BYTES = 16 * 1024
# Counted or decoded in one call, during which no other thread runs.
PIECE_BYTES = 256 * 1024
MAX_HELD_BYTES = 64 * 2**20

# One thread, so that the event loop contends with one parser at most, however many bodies come.
_PARSER = ThreadPoolExecutor(1, thread_name_prefix="parser")


_held = 0


@contextmanager
def holding() -> Iterator[Callable[[int], None]]:
    """Count the memory of large bodies, over all requests, until the `with` block ends.

    Raises:
        Problem: 503: the limit `MAX_HELD_BYTES` is reached.
    """
    mine = 0

    def take(count: int) -> None:
        global _held
        nonlocal mine
        if _held + count > MAX_HELD_BYTES:
            text = "Too many pictures are being read; try again."
            raise Problem(grpc.StatusCode.UNAVAILABLE, text, headers={"Retry-After": "2"})
        _held, mine = _held + count, mine + count

    try:
        yield take
    finally:
        _give_back(mine)


def _give_back(count: int) -> None:
    global _held
    _held -= count


class ClientDisconnected(Exception):
    """The client disconnected; no answer is needed."""


def media_type(request: Request) -> str:
    """The Content-Type without parameters, lower case. A charset must be UTF-8.

    Raises:
        Problem: 415.
    """
    kind, *parameters = request.headers.get("content-type", "").lower().split(";")
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8"):
            raise unsupported_media_type(("application/json",))
    return kind.strip()


def unsupported_media_type(known: tuple[str, ...]) -> Problem:
    """A 415 that names the accepted types."""
    accepted = ", ".join(known)
    return Problem(
        grpc.StatusCode.UNKNOWN,
        f"Send Content-Type: {' or '.join(known)}.",
        http_status=415,
        headers={"Accept-Post": accepted},
    )


def _free(count: int) -> None:
    """Bytes within `MAX_BODY_BYTES` are not counted."""


def max_bytes(message: Descriptor) -> int:
    """The largest body allowed for a message of this kind."""
    carries_files = any(field.type == FieldDescriptor.TYPE_BYTES for field in message.fields)
    return MAX_PICTURE_BODY_BYTES if carries_files else MAX_BODY_BYTES


async def read_message(
    request: Request, kind: Descriptor, parse: Callable[[bytes], Awaitable[T]]
) -> T:
    """Read and `parse` a body that contains one message of this kind.

    Raises:
        Problem, ClientDisconnected: like `read_body`, and `holding` beyond `MAX_BODY_BYTES`.
    """
    size = 0
    with holding() as take:

        def take_beyond(count: int) -> None:
            nonlocal size
            before, size = max(size, MAX_BODY_BYTES), size + count
            if size > before:
                take(size - before)

        return await parse(await read_body(request, max_bytes(kind), take_beyond))


async def read_body(
    request: Request, limit: int = MAX_BODY_BYTES, take: Callable[[int], None] = _free
) -> bytes:
    """The whole body, unpacked where gzip packed it, at most `limit` bytes before and after.

    `take` is called with the size of each part, see `holding`.

    Raises:
        Problem: 400 if it has too many values or invalid gzip, 413 if it is too large, 415 for
            another content coding.
        ClientDisconnected: while receiving the body.
    """
    is_packed = is_gzip(request.headers.get("content-encoding", ""))
    if _declared_length(request) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async for chunk in request.stream():
            take(len(chunk))
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
    except ClientDisconnect:
        raise ClientDisconnected from None
    if is_packed:
        body = bytearray(await unpacked(bytes(body), limit))
        take(len(body))
    if "json" in request.headers.get("content-type", "").lower():
        await parse_aside(bytes(body), check_structure)
    return bytes(body)


async def unpacked(packed: bytes, limit: int = MAX_BODY_BYTES) -> bytes:
    """What gzip packed, at most `limit` bytes.

    Raises:
        Problem: 400 if it is not gzip, 413 if it is too large.
    """
    found = await parse_aside(packed, lambda packed: unpack(packed, limit))
    if found is None:
        raise _too_large(limit)
    return found


def check_structure(text: str | bytes) -> None:
    """Refuse JSON with more values than any request has.

    Raises:
        Problem: 400.
    """
    encoded = text.encode(errors="replace") if isinstance(text, str) else text
    found = 0
    for start in range(0, len(encoded), PIECE_BYTES):
        found += sum(encoded.count(mark, start, start + PIECE_BYTES) for mark in STRUCTURE)
        if found > MAX_STRUCTURE:
            raise malformed("The message holds more values than any request has.")


async def parse_aside(body: bytes, parse: Callable[[bytes], T]) -> T:
    """Parse `body`, on another thread if it is large, so that the event loop isn't blocked."""
    if len(body) <= LARGE_BYTES:
        return parse(body)
    return await asyncio.get_running_loop().run_in_executor(_PARSER, parse, body)


def _declared_length(request: Request) -> int:
    length = request.headers.get("content-length", "0")
    return int(length) if length.isdigit() else 0


def _too_large(limit: int) -> Problem:
    text = f"The body is larger than {limit} bytes."
    return Problem(grpc.StatusCode.RESOURCE_EXHAUSTED, text, http_status=413)


async def unless_disconnected(request: Request, work: Awaitable[T]) -> T:
    """Await `work`; cancel it if the client disconnects first.

    The body must have been read before.

    Raises:
        ClientDisconnected: the work was cancelled.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnected
        return task.result()
    finally:
        for pending in (task, gone):
            pending.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _until_disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
