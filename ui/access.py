"""Restricts the studio to this machine and to visitors with the host's password.

Other visitors can only reach the pages of demo sessions. If sign-in is configured, or the operator
has opened the studio, there is no such restriction.
"""

from __future__ import annotations

from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ui.sessions.address import is_loopback
from ui.sessions.answers import html_page
from ui.sessions.guesses import WRONG_PASSWORDS, Guesses
from ui.sessions.passes import HOST_COOKIE, PASS_S, Passes

PUBLIC = ("/join", "/wall", "/host", "/_stcore/health")
PUBLIC_BELOW = "/s/"
WRONG = "That was not it."
TOO_MANY = "Too many tries. Wait a minute, then try again."
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


class VisitorGuard:
    """Limits visitors from other machines to the public pages."""

    def __init__(self, app: ASGIApp, passes: Passes, base: str = "") -> None:
        self._app = app
        self._passes = passes
        self._base = base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._may(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "the host's alone"})
        else:
            await html_page("host.html", 403)(scope, receive, send)

    def _may(self, scope: Scope) -> bool:
        path = scope["path"].removeprefix(self._base)
        if path in PUBLIC or path.startswith(PUBLIC_BELOW):
            return True
        connection = HTTPConnection(scope)
        return is_local(connection) or self._passes.is_host(connection.cookies.get(HOST_COOKIE))


def is_local(connection: HTTPConnection) -> bool:
    """Whether the visitor is on this machine, and not behind a proxy or tunnel on it."""
    host = connection.client.host if connection.client else ""
    is_passed_on = any(name in connection.headers for name in FORWARDED)
    return is_loopback(host) and not is_passed_on


def host_route(passes: Passes, guesses: Guesses, base: str = "") -> Route:
    """The route where the host enters the password or follows the link for another device."""

    async def host(request: Request) -> Response:
        peer = request.client.host if request.client else ""
        if not guesses.may(WRONG_PASSWORDS, peer):
            return html_page("host.html", 429, TOO_MANY)
        if request.method == "POST":
            async with request.form(max_files=0, max_fields=4) as form:
                is_right = passes.is_password(str(form.get("password", ""))[:200])
        elif "key" in request.query_params:
            is_right = passes.is_link(request.query_params["key"][:400])
        else:
            return html_page("host.html")
        if not is_right:
            guesses.count(WRONG_PASSWORDS, peer)
            return html_page("host.html", 403, WRONG)
        answer = RedirectResponse(f"{base}/sessions", 303, {"Cache-Control": "no-store"})
        answer.set_cookie(
            HOST_COOKIE,
            passes.host(),
            max_age=PASS_S,
            path=base or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        return answer

    return Route(f"{base}/host", host, methods=["GET", "POST"])
