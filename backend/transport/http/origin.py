"""Keeps other people's web pages from using a visitor's browser against this server."""

from __future__ import annotations

from urllib.parse import urlsplit

import grpc
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.transport.http.problem import Problem, connect_error


class OriginGuard:
    """Refuses with 403 what a page of another origin sends, unless that origin is allowed.

    CORS alone stops the page from reading the answer, not us from making the picture.
    """

    def __init__(self, app: ASGIApp, allowed: tuple[str, ...]) -> None:
        self.app = app
        self.allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._allows(Headers(scope=scope)):
            text = "Pages of this origin may not call; see TEXT2IMAGE_HTTP_CORS_ORIGINS."
            problem = Problem(grpc.StatusCode.PERMISSION_DENIED, text)
            await JSONResponse(connect_error(problem), problem.http_status)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _allows(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None or "*" in self.allowed or origin in self.allowed:
            return True
        return urlsplit(origin).netloc == headers.get("host")
