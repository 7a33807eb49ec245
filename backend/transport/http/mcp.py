"""The Model Context Protocol at /mcp (streamable HTTP), with the tools of text2image/mcp.

The SDK is imported with the first request, since that takes a second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import grpc
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.transport.http.body import MAX_BODY_BYTES, MAX_PICTURE_BODY_BYTES, holding
from backend.transport.http.openai.shelf import PATH, Picture, Shelf
from backend.transport.http.problem import Problem
from backend.transport.http.upstream import FORWARDED, SERVICE, Upstream, caller_of
from backend.version import VERSION
from proto import text2image_pb2 as pb

if TYPE_CHECKING:
    from text2image.status import ServiceStatus
    from text2image.types import Event, GenerationOptions, Image

GENERATE = SERVICE.methods_by_name["StreamGenerateImage"]
GET_STATUS = SERVICE.methods_by_name["GetStatus"]
MAX_SESSIONS = 256
GONE = "mcp_caller_gone"  # in a request's state: an event


class Mcp:
    """The ASGI app of the route; started by the first request, stopped with the server."""

    def __init__(self) -> None:
        self._starting = asyncio.Lock()
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._starting:
            if self._app is None:
                self._app = await self._start()
        gone = asyncio.Event()
        scope.setdefault("state", {}).update({GONE: gone, FORWARDED: True})
        size = _declared_size(scope)
        with contextlib.ExitStack() as held:
            if size > MAX_BODY_BYTES:
                held.enter_context(holding())(min(size, MAX_PICTURE_BODY_BYTES))

            async def watched() -> Message:
                message = await receive()
                if message["type"] == "http.disconnect":
                    gone.set()
                elif not message.get("more_body"):
                    held.close()
                return message

            await self._app(scope, watched, send)

    async def stop(self) -> None:
        self._stop.set()
        if self._running is not None:
            await self._running

    async def _start(self) -> ASGIApp:
        manager = await asyncio.to_thread(_manager)
        started = asyncio.Event()

        async def run() -> None:
            async with manager.run():
                started.set()
                await self._stop.wait()

        self._running = asyncio.create_task(run())
        await started.wait()
        app: ASGIApp = manager.handle_request
        return app


def _declared_size(scope: Scope) -> int:
    """The body's Content-Length.

    Raises:
        Problem: 411, a body that does not say how long it is.
    """
    headers = Headers(scope=scope)
    if "transfer-encoding" in headers:
        text = "Send a Content-Length."
        raise Problem(grpc.StatusCode.INVALID_ARGUMENT, text, http_status=411)
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() else 0


class Endpoint:
    """GET, POST and DELETE /mcp."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        mcp: Mcp = scope["app"].state.mcp
        await mcp(scope, receive, send)


def _manager() -> Any:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from text2image.mcp.server import build_server

    server = build_server(lambda ctx: HttpService(cast(Request, ctx.request)), VERSION)
    return StreamableHTTPSessionManager(
        server, max_sessions=MAX_SESSIONS, max_request_body_size=MAX_PICTURE_BODY_BYTES
    )


class HttpService:
    """Implements `Service` of text2image/mcp for the caller of one request."""

    def __init__(self, request: Request) -> None:
        self._request = request

    async def generate(self, prompt: str, options: GenerationOptions) -> AsyncGenerator[Event, Any]:
        from text2image.convert import event_from_pb, request_to_pb
        from text2image.errors import InvalidRequest
        from text2image.mcp.service import Refused

        upstream: Upstream = self._request.app.state.upstream
        try:
            message = request_to_pb(prompt, "", options)
            events = upstream.stream(GENERATE, message, caller_of(self._request))
            async with contextlib.aclosing(events):
                async for found in events:
                    if (event := event_from_pb(found)) is not None:
                        yield event
        except (Problem, InvalidRequest) as error:
            raise Refused(str(error)) from None

    async def status(self) -> ServiceStatus:
        from text2image.convert import status_from_pb
        from text2image.mcp.service import Refused

        upstream: Upstream = self._request.app.state.upstream
        call = upstream.call(GET_STATUS, pb.GetStatusRequest(), caller_of(self._request))
        try:
            message = await call
        except Problem as problem:
            raise Refused(str(problem)) from None
        assert isinstance(message, pb.GetStatusResponse)
        return status_from_pb(message)

    def keep(self, image: Image) -> str:
        shelf: Shelf = self._request.app.state.shelf
        if shelf.ttl_s == 0:
            return ""
        name = shelf.put(Picture(image.data, image.mime_type))
        return str(self._request.base_url.replace(path=f"{PATH}{name}"))

    def find(self, address: str) -> bytes | None:
        shelf: Shelf = self._request.app.state.shelf
        picture = shelf.get(urlsplit(address).path.removeprefix(PATH)) if PATH in address else None
        return picture.data if picture is not None else None

    async def caller_is_gone(self) -> None:
        gone: asyncio.Event = self._request.scope["state"][GONE]
        await gone.wait()
