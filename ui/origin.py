"""Prevents foreign web pages from using the studio's pages, websocket and routes.

A foreign page can make a visitor's browser send requests here; with DNS rebinding it can also read
the answers.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from webserver.names import is_known, is_listed, machine_names, name_in

HOST_TEXT = "The studio is not known by that name; see TEXT2IMAGE_UI_ALLOWED_HOSTS."
ORIGIN_TEXT = "Pages of another site may not use the studio."
OTHER_SITES = ("cross-site", "same-site")


class OriginGuard:
    """Refuses unknown Host names, and requests of other origins' pages except followed links.

    Args:
        hosts: allowed names besides loopback, this machine's names and addresses;
            "*.example.org" matches all subdomains, "*" everything.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...] = ()) -> None:
        self._app = app
        self._hosts = (*(host.lower() for host in hosts), *machine_names())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_checked = scope["type"] in ("http", "websocket")
        text = self._refusal(scope) if is_checked else None
        if text is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": text})
        else:
            await PlainTextResponse(text, 403)(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "localhost")  # every browser sends one
        if not is_known(host, self._hosts):
            return HOST_TEXT
        origin = headers.get("origin")
        if origin is not None and not self._is_own_page(origin, host):
            return ORIGIN_TEXT
        if headers.get("sec-fetch-site") in OTHER_SITES and not _is_link(scope, headers):
            return ORIGIN_TEXT
        return None

    def _is_own_page(self, origin: str, host: str) -> bool:
        """Whether the origin is ours; behind a proxy that changes Host, if it is in `hosts`."""
        return urlsplit(origin).netloc == host or is_listed(name_in(origin), self._hosts)


def _is_link(scope: Scope, headers: Headers) -> bool:
    """Whether the visitor followed a link here, or returns from signing in."""
    is_page = headers.get("sec-fetch-mode") == "navigate"
    return is_page and headers.get("sec-fetch-dest") == "document" and scope["method"] == "GET"
