"""The HTTP front before a service of the test's choice, and a client of it."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx

from backend.transport.http import create_app, serve_http
from tests.support.fake_service import FakeService

GENERATE = "/text2image.Text2ImageService/GenerateImage"
STREAM = "/text2image.Text2ImageService/StreamGenerateImage"
STATUS = "/text2image.Text2ImageService/GetStatus"
IMAGES = "/v1/images/generations"
EDITS = "/v1/images/edits"
VARIATIONS = "/v1/images/variations"


@asynccontextmanager
async def front(
    behind: FakeService | str, cors_origins: Sequence[str] = (), **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of a front that forwards to a fake service, or to a gRPC target."""
    target = behind if isinstance(behind, str) else behind.address
    app = create_app(target, cors_origins=cors_origins, **settings)
    server = await serve_http(app, "127.0.0.1", 0)
    base_url = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=base_url, timeout=20, trust_env=False) as client:
        yield client
    await server.stop()


def envelope(payload: bytes, flags: int = 0) -> bytes:
    """A message of a Connect stream."""
    return struct.pack(">BI", flags, len(payload)) + payload


def envelopes(body: bytes) -> list[tuple[int, bytes]]:
    found = []
    while body:
        flags, length = struct.unpack_from(">BI", body)
        found.append((flags, body[5 : 5 + length]))
        body = body[5 + length :]
    return found


class Event(NamedTuple):
    """One Server-Sent Event."""

    name: str
    data: Any
    id: str


def parse_events(text: str) -> list[Event]:
    """Split an event stream, comments left out."""
    events = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if lines:
            events.append(Event(lines["event"], json.loads(lines["data"]), lines.get("id", "")))
    return events
