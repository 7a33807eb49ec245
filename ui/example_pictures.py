"""Serves the thumbnails of a model's examples, under names made from their content's hash."""

from __future__ import annotations

import hashlib

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

FOR_EVER = "public, max-age=31536000, immutable"
MAX_KEPT = 512

_kept: dict[str, bytes] = {}


def keep(thumbnail: bytes) -> str:
    """Make a WebP available; returns its URL, relative to any page."""
    digest = hashlib.sha256(thumbnail).hexdigest()[:32]
    if digest not in _kept:
        while len(_kept) >= MAX_KEPT:  # those of previously served models
            del _kept[next(iter(_kept))]
        _kept[digest] = thumbnail
    return f"./example/{digest}.webp"


def example_route(base: str = "") -> Route:
    """The route of the thumbnails below `base`. They are public: they belong to no visitor."""

    def example(request: Request) -> Response:
        data = _kept.get(request.path_params["digest"])
        if data is None:
            return PlainTextResponse("Not found", 404, headers={"Cache-Control": "no-store"})
        return Response(data, media_type="image/webp", headers={"Cache-Control": FOR_EVER})

    return Route(f"{base}/example/{{digest}}.webp", example)
