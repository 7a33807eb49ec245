"""Stores images that are fetched by URL: `response_format: "url"`."""

from __future__ import annotations

import asyncio
import math
import secrets
from typing import NamedTuple

import grpc
from starlette.requests import Request
from starlette.responses import Response

from backend.transport.http.problem import Problem

PATH = "/v1/images/files/"
MAX_KEPT_BYTES = 64 * 2**20


class Picture(NamedTuple):
    """An encoded picture."""

    data: bytes
    mime_type: str


class Shelf:
    """Keeps images for `ttl_s` seconds, up to `max_bytes`; the oldest are dropped first.

    Names can't be guessed, so anyone who knows one may fetch the image, even without a key.
    """

    def __init__(self, ttl_s: float, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self.ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._kept: dict[str, Picture] = {}

    def put(self, picture: Picture) -> str:
        """Store an image and return its name. Call it on the event loop."""
        name = f"{secrets.token_urlsafe(32)}.{picture.mime_type.removeprefix('image/')}"
        self._kept[name] = picture
        while sum(len(kept.data) for kept in self._kept.values()) > self._max_bytes:
            del self._kept[next(iter(self._kept))]
        asyncio.get_running_loop().call_later(self.ttl_s, self._kept.pop, name, None)
        return name

    def get(self, name: str) -> Picture | None:
        """The image with this name, or None if it is not stored any more."""
        return self._kept.get(name)


async def serve(request: Request) -> Response:
    """GET /v1/images/files/{name}."""
    shelf: Shelf = request.app.state.shelf
    picture = shelf.get(request.path_params["name"])
    if picture is None:
        raise Problem(grpc.StatusCode.NOT_FOUND, "No such picture, or no longer.")
    headers = {
        "Cache-Control": f"private, max-age={math.ceil(shelf.ttl_s)}, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(picture.data, media_type=picture.mime_type, headers=headers)
