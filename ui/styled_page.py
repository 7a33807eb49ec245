"""Completes the head of Streamlit's page: our style sheet and hints for what to load at once.

Added by the script, the style sheet would shift the layout late.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.preloads import preloads

SHEETS = ("style.css", "studio.css")
STYLE = "".join((Path(__file__).parent / name).read_text("utf-8") for name in SHEETS)
VERSION = hashlib.sha256(STYLE.encode()).hexdigest()[:12]
LINK = f'<link rel="stylesheet" href="./style.css?v={VERSION}">'
FOR_EVER = "public, max-age=31536000, immutable"


def style_route(base: str = "") -> Route:
    """The route of the style sheet; `base` is the path below which the studio is served."""

    def style(_request: Request) -> Response:
        return Response(STYLE, media_type="text/css", headers={"Cache-Control": FOR_EVER})

    return Route(f"{base}/style.css", style)


class StyledPage:
    """Adds links of the style sheet and of Streamlit's scripts to the head of every page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._links = f"{LINK}{preloads()}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "text/html" not in Headers(scope=scope).get("accept", ""):
            await self._app(scope, receive, send)
            return
        await self._app(_uncached(scope), receive, _Styling(send, self._links))


def _uncached(scope: Scope) -> Scope:
    """The request without conditional and compression headers, since we change the answer."""
    headers = MutableHeaders(raw=list(scope["headers"]))
    for name in ("accept-encoding", "if-none-match", "if-modified-since", "range"):
        del headers[name]
    return {**scope, "headers": headers.raw}


class _Styling:
    """Adds the link to HTML answers; sends others unchanged."""

    def __init__(self, send: Send, links: bytes) -> None:
        self._send = send
        self._links = links
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and is_app(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            await self._take(self._start, message)

    async def _take(self, start: Message, message: Message) -> None:
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        body = self._body
        if LINK.encode() not in body:
            body = body.replace(b"</head>", self._links + b"</head>", 1)
        headers = MutableHeaders(scope=start)
        headers["content-length"] = str(len(body))
        for name in ("etag", "last-modified", "accept-ranges"):
            del headers[name]
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})


def is_app(message: Message) -> bool:
    """Whether it is the page with Streamlit's app; our own have their own policy and styles."""
    headers = Headers(raw=message["headers"])
    is_html = headers.get("content-type", "").startswith("text/html")
    return message["status"] == 200 and is_html and "content-security-policy" not in headers
