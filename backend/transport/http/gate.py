"""Middleware in front of all routes: checks API keys and logs refusals."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.errors import BackendError
from backend.transport.access.keys import ApiKey
from backend.transport.http.credentials import authorization_of
from backend.transport.http.openai.shelf import PATH as KEPT_PICTURES
from backend.transport.http.problem import Problem, from_error
from backend.transport.http.upstream import FORWARDED, REFUSED
from backend.transport.metrics import Metrics
from backend.transport.rpc.identity import Identifier

OPEN_PATHS = ("/health", "/healthz", "/readyz", "/openapi.json", "/internal/ping")

Render = Callable[[Request, Problem], Response]


class KeyGuard:
    """Refuses callers without a key before reading their body; gRPC checks the key again."""

    def __init__(self, app: ASGIApp, identifier: Identifier, render: Render) -> None:
        self.app = app
        self._identifier = identifier
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_open(scope["path"]):
            try:
                key = self._identifier.check(authorization_of(scope), address_of(scope))
            except BackendError as error:
                answer = self._render(Request(scope), from_error(error))
                await answer(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = _name(key, address_of(scope))
        await self.app(scope, receive, send)


def _name(key: ApiKey | None, address: str) -> str:
    """The caller's name, the same as the gRPC server gives it."""
    if key is None:
        return address
    return f"{key.name}/{address}" if key.delegate else key.name


class RefusalLog:
    """Logs and counts requests that were refused without calling an rpc."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_and_tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = scope.get("state", {}).get(REFUSED, message["status"])
                if status >= 400:
                    self._tell(scope, status)
            await send(message)

        await self.app(scope, receive, send_and_tell)

    def _tell(self, scope: Scope, status: int) -> None:
        if not scope.get("state", {}).get(FORWARDED) and scope["path"] not in OPEN_PATHS:
            self._metrics.refused_http(scope["method"], scope["path"], status, address_of(scope))


def _is_open(path: str) -> bool:
    """Whether the path needs no key; stored images are protected by their secret names."""
    return path in OPEN_PATHS or path.startswith(KEPT_PICTURES)


def address_of(scope: Scope) -> str:
    """The client's address."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"
