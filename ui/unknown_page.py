"""Leads from an address without a page to the studio, which says so.

Streamlit answers every address with its app, and then puts a dialog over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.styled_page import is_app

ASKED = "nowhere"  # the query parameter with the address that was asked for
FIRST = "studio"
MOST = 60  # characters of it
PAGES = frozenset(path.stem for path in (Path(__file__).parent / "app_pages").glob("[!_]*.py"))


class UnknownPage:
    """Redirects to the first page where Streamlit would open its app at an unknown address.

    Args:
        routes: our own, which have pages that are not Streamlit's.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute] = (), base: str = "") -> None:
        self._app = app
        self._routes = routes
        self._base = base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = _name(scope, self._base)
        if name is None or name in PAGES - {FIRST} or self._is_ours(scope):
            await self._app(scope, receive, send)
            return
        query = "" if name == FIRST else "?" + urlencode({ASKED: name[:MOST]})
        redirect = RedirectResponse(f"{self._base}/{query}", 307)
        is_left = False

        async def send_unless_app(message: Message) -> None:
            nonlocal is_left
            if message["type"] == "http.response.start" and is_app(message):
                is_left = True
                await redirect(scope, receive, send)
            elif not is_left:
                await send(message)

        await self._app(scope, receive, send_unless_app)

    def _is_ours(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is not Match.NONE for route in self._routes)


def _name(scope: Scope, base: str) -> str | None:
    """What a browser asks for below the base; None: the first page, or no page at all."""
    if scope["type"] != "http" or "text/html" not in Headers(scope=scope).get("accept", ""):
        return None
    path: str = scope["path"]
    if not path.startswith(f"{base}/"):
        return None
    return path.removeprefix(base).strip("/") or None
