"""Prevents foreign web pages from using a visitor's browser to call this server.

A foreign page can send requests without reading the answers (`<img>`, a form, a `no-cors` fetch);
with DNS rebinding it can also read them. Clients other than browsers are not affected.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import grpc
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.transport.http.gate import Render
from backend.transport.http.openai.shelf import PATH as KEPT_PICTURES
from backend.transport.http.problem import Problem
from backend.transport.http.upstream import SERVICE
from webserver.names import is_known, machine_names

ORIGIN_TEXT = (
    "Pages of this origin may not call. To let them, add {origin} to TEXT2IMAGE_HTTP_CORS_ORIGINS."
)
HOST_TEXT = "This server is not known by that name; see TEXT2IMAGE_HTTP_ALLOWED_HOSTS."
OTHER_SITES = ("cross-site", "same-site")
RPCS = f"/{SERVICE.full_name}/"


class OriginGuard:
    """Answers 403 to unknown Host names and to requests of pages with another origin.

    CORS alone would only stop the page from reading the answer, not us from generating.

    Args:
        render: turns a problem into a response in the format of the path's API.
        origins: allowed origins of pages; "*": all.
        hosts: allowed host names besides loopback, this machine's names and addresses;
            "*.example.org" matches all subdomains, "*" everything.
    """

    def __init__(
        self,
        app: ASGIApp,
        render: Render,
        origins: tuple[str, ...] = (),
        hosts: tuple[str, ...] = (),
    ) -> None:
        self.app = app
        self._render = render
        self._origins = origins
        self._hosts = (*(host.lower() for host in hosts), *machine_names())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        text = self._refusal(scope) if scope["type"] == "http" else None
        if text is None:
            await self.app(scope, receive, send)
            return
        problem = Problem(grpc.StatusCode.PERMISSION_DENIED, text)
        await self._render(Request(scope), problem)(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "localhost")  # every browser sends one
        if not is_known(host, self._hosts):
            return HOST_TEXT
        if "*" in self._origins or _is_kept_picture(scope):
            return None
        origin = headers.get("origin")
        if origin is not None:
            is_allowed = origin in self._origins or urlsplit(origin).netloc == host
            return None if is_allowed else _refuse_origin(origin)
        if headers.get("sec-fetch-site") in OTHER_SITES or _is_blind_browser(scope, headers):
            return _refuse_origin("it")
        return None


def _refuse_origin(origin: str) -> str:
    """Origins include those of desktop programs' web views, such as tauri://localhost."""
    is_name = len(origin) <= 128 and origin.isascii() and origin.isprintable()
    return ORIGIN_TEXT.format(origin=origin if is_name else "it")


def _is_kept_picture(scope: Scope) -> bool:
    """An image by its secret name: any page that knows it may show it; nothing is generated."""
    return scope["method"] == "GET" and str(scope["path"]).startswith(KEPT_PICTURES)


def _is_blind_browser(scope: Scope, headers: Headers) -> bool:
    """Whether a browser generates by GET without naming the page that sent it.

    Browsers name the page only to servers on loopback or with TLS. No legitimate page needs this:
    an EventSource of another origin names it, and this server has no pages.
    """
    is_browser = headers.get("user-agent", "").startswith("Mozilla/")
    draws = scope["method"] == "GET" and scope["path"].startswith(RPCS)
    return is_browser and draws and "sec-fetch-site" not in headers
