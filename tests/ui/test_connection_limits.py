"""Silent and slow connections to the studio are closed; websockets and answers are not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect

from ui.connection_limits import (
    StudioDeadlines,
    StudioProtocol,
    limit_connections,
    most_connections,
)
from webserver.waiting import Connections

SOON_S = 0.3
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
PATIENT = dict.fromkeys(("idle_s", "header_s", "body_s", "message_s"), 60.0)


class Served:
    """The address, and what the server has open."""

    def __init__(self, port: int, connections: Connections[StudioProtocol]) -> None:
        self.port = port
        self.connections = connections

    async def open(self, data: bytes = b"") -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        client.writer.write(data)
        return client

    def websocket(self) -> connect:
        return connect(f"ws://127.0.0.1:{self.port}/echo", proxy=None)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"done"), 30)

    async def end_s(self) -> float:
        """Seconds until the server hung up."""
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(self.reader.read(), 30)
        return time.monotonic() - started


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def page(request: Request) -> PlainTextResponse:
    await request.body()
    if request.url.path == "/slow":
        await asyncio.sleep(3 * SOON_S)
    return PlainTextResponse("done")


@asynccontextmanager
async def serving(
    monkeypatch: pytest.MonkeyPatch, most: int = 100, **soon: float
) -> AsyncIterator[Served]:
    """As Streamlit starts its server."""
    monkeypatch.setattr(uvicorn.Server, "startup", uvicorn.Server.startup)  # given back afterwards
    connections = limit_connections(most, StudioDeadlines(**(PATIENT | soon)))
    routes = [Route("/", page, methods=["GET", "POST"]), Route("/slow", page)]
    app = Starlette(routes=[*routes, WebSocketRoute("/echo", echo)])
    config = uvicorn.Config(app, port=0, ws="websockets-sansio", log_level="error")
    config.timeout_graceful_shutdown = 1
    sock = config.bind_socket()
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([sock]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield Served(sock.getsockname()[1], connections)
    finally:
        server.should_exit = True
        await task


async def closes(websocket: ClientConnection) -> None:
    await asyncio.wait_for(websocket.wait_closed(), 30)


@pytest.mark.parametrize(
    ("phase", "data"), [("idle_s", b""), ("header_s", GET[:20]), ("body_s", POST + b"x")]
)
async def test_who_sends_nothing_is_hung_up_on(
    phase: str, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(monkeypatch, 100, **{phase: SOON_S}) as served:
        client = await served.open(data)
        assert await client.end_s() < 20
        assert len(served.connections) == 0


async def test_one_byte_after_the_other_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(monkeypatch, header_s=SOON_S) as served:
        client = await served.open(GET[:20])

        async def trickle() -> None:
            while True:
                client.writer.write(b"x")
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        assert await client.end_s() < 20
        trickling.cancel()


async def test_an_answer_may_take_longer_than_any_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    soon = dict.fromkeys(("idle_s", "header_s", "body_s"), SOON_S)
    async with serving(monkeypatch, 100, **soon) as served:
        client = await served.open(SLOW)
        assert b"200 OK" in await client.answer()


async def test_an_idle_websocket_stays_once_it_spoke(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        serving(monkeypatch, 100, **dict.fromkeys(PATIENT, SOON_S)) as served,
        served.websocket() as speaking,
        served.websocket() as silent,
    ):
        await speaking.send("a")
        assert await speaking.recv() == "a"
        await closes(silent)
        await asyncio.sleep(2 * SOON_S)
        await speaking.send("b")
        assert await speaking.recv() == "b"
        assert len(served.connections) == 1
        await speaking.close()
        assert len(served.connections) == 0


async def test_the_oldest_silent_one_gives_way_and_what_is_used_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(monkeypatch, most=12) as served, served.websocket() as websocket:
        await websocket.send("a")
        assert await websocket.recv() == "a"
        slow = await served.open(SLOW)
        silent = [await served.open() for _ in range(3)]  # as many as a peer may have
        await asyncio.sleep(0.05)
        more = [await served.open() for _ in range(40)]
        client = await served.open(GET)
        assert b"200 OK" in await client.answer()
        assert await silent[0].end_s() < 20
        assert len(served.connections) <= 12
        await websocket.send("b")
        assert await websocket.recv() == "b"
        assert b"200 OK" in await slow.answer()
        assert len(more) == 40


async def test_a_request_that_has_come_outlives_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    """All come before the server's next look."""
    async with serving(monkeypatch, most=12) as served:
        address = ("127.0.0.1", served.port)
        with contextlib.ExitStack() as stack:
            silent = [stack.enter_context(socket.create_connection(address)) for _ in range(5)]
            asking = stack.enter_context(socket.create_connection(address))
            asking.sendall(GET)
            silent += [stack.enter_context(socket.create_connection(address)) for _ in range(40)]
            client = Client(*await asyncio.open_connection(sock=asking.dup()))
            assert b"200 OK" in await client.answer()
            client.writer.close()


async def test_a_full_studio_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(monkeypatch, most=4) as served, contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            websocket = await stack.enter_async_context(served.websocket())
            await websocket.send("a")
            assert await websocket.recv() == "a"
        assert await (await served.open(GET)).end_s() < 20
        assert len(served.connections) == 4


def test_as_many_as_file_descriptors_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    for limit, most in ((1024, 224), (100, 64), (10**6, 4000), (resource.RLIM_INFINITY, 4000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert most_connections() == most
