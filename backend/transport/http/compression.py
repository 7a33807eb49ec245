"""gzip, both ways: what clients send, up to a bound on what it unpacks to, and what they get."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable, Mapping

import grpc
from starlette.requests import Request
from starlette.responses import Response

from backend.transport.http.problem import Problem, malformed

SUPPORTED = "gzip, identity"
GZIP_WBITS = 31  # zlib's number for gzip's header and checksum
# Packing less saves nothing; fast rather than small, since most of it is pictures in base64.
SMALLEST_BYTES = 1024
LEVEL = 1


def is_gzip(coding: str) -> bool:
    """Whether this Content-Encoding (or Connect's own) is gzip, or else identity.

    Raises:
        Problem: UNIMPLEMENTED, 415: it is another one.
    """
    match coding.strip().lower():
        case "gzip":
            return True
        case "" | "identity":
            return False
    text = f"This coding is not supported. Supported: {SUPPORTED}."
    headers = {"Accept-Encoding": SUPPORTED}
    raise Problem(grpc.StatusCode.UNIMPLEMENTED, text, http_status=415, headers=headers)


def unpack(packed: bytes, max_bytes: int) -> bytes | None:
    """What gzip packed; None where it is more than `max_bytes`, which costs no more than those.

    Raises:
        Problem: 400, it is not gzip, or cut short.
    """
    unzip = zlib.decompressobj(GZIP_WBITS)
    try:
        unpacked = unzip.decompress(packed, max_bytes + 1)
    except zlib.error:
        raise malformed("The body is not valid gzip.") from None
    if len(unpacked) > max_bytes:
        return None
    if not unzip.eof or unzip.unused_data:
        raise malformed("The gzip stream is cut short, or more follows it.")
    return unpacked


def accepts_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding (or Connect's own) names gzip, or anything."""
    for part in accepted.lower().split(","):
        coding, _, parameters = part.partition(";")
        if coding.strip() in ("gzip", "*"):
            return "".join(parameters.split()) not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def pack(content: bytes) -> bytes:
    """The same, packed; it takes a while."""
    return gzip.compress(content, LEVEL, mtime=0)


async def respond(
    request: Request,
    make: Callable[[], bytes],
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer made on a thread, packed where the client takes gzip."""
    may_pack = accepts_gzip(request.headers.get("accept-encoding", ""))

    def content() -> tuple[bytes, bool]:
        made = make()
        if not may_pack or len(made) < SMALLEST_BYTES:
            return made, False
        packed = pack(made)
        return (packed, True) if len(packed) < len(made) else (made, False)

    found, is_packed = await asyncio.to_thread(content)
    told = {**(headers or {}), "Vary": "Accept-Encoding"}
    if is_packed:
        told["Content-Encoding"] = "gzip"
    return Response(found, media_type=media_type, headers=told)
