"""gzip for requests, with a limit on the unpacked size, and for responses."""

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
# Smaller answers are not worth it. A fast level, since most answers are images in base64.
SMALLEST_BYTES = 1024
LEVEL = 1


def is_gzip(coding: str) -> bool:
    """Whether this Content-Encoding (or Connect's header) is gzip; False: identity.

    Raises:
        Problem: UNIMPLEMENTED, 415: any other coding.
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
    """Decompress; None if the result has more than `max_bytes` (stops there).

    Raises:
        Problem: 400: invalid or truncated gzip.
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
    """Whether an Accept-Encoding (or Connect's header) accepts gzip."""
    for part in accepted.lower().split(","):
        coding, _, parameters = part.partition(";")
        if coding.strip() in ("gzip", "*"):
            return "".join(parameters.split()) not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def pack(content: bytes) -> bytes:
    """Compress; slow, so call it on another thread."""
    return gzip.compress(content, LEVEL, mtime=0)


async def respond(
    request: Request,
    make: Callable[[], bytes],
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A response whose content is made on another thread, compressed if the client accepts it."""
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
