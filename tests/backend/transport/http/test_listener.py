"""Silent and slow connections are closed; those being answered are not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from backend.transport.http.certificates import Tls
from backend.transport.http.listener import PortDeadlines
from backend.transport.http.serve import Bounds, HttpServer, serve_http
from tests.support.certificates import Authority
from webserver import waiting
from webserver.protocol import TimedProtocol

SOON_S = 0.3
FOR_EVER_S = 60.0
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD_OF_POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"


def deadlines(**soon: float) -> PortDeadlines:
    patient = dict.fromkeys(("handshake_s", "idle_s", "header_s", "body_s"), FOR_EVER_S)
    return PortDeadlines(**(patient | soon))


@asynccontextmanager
async def serving(bounds: Bounds, tls: Tls | None = None) -> AsyncIterator[HttpServer]:
    async def slow(request: Request) -> PlainTextResponse:
        await request.body()
        await asyncio.sleep(float(request.headers.get("sleep", "0")))
        return PlainTextResponse("done")

    app = Starlette(routes=[Route("/", slow, methods=["GET", "POST"])])
    server = await serve_http(app, "127.0.0.1", 0, tls, bounds)
    try:
        yield server
    finally:
        await server.stop(0)


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def trickle(self, data: bytes, every_s: float) -> None:
        """Until all is sent, or nobody takes it."""
        try:
            for byte in data:
                await self.send(bytes([byte]))
                await asyncio.sleep(every_s)
        except ConnectionError:
            return

    async def answer(self) -> bytes:
        return await self._reader.readuntil(b"done")

    async def end_s(self) -> float:
        """Seconds until the server hung up."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(30):
                await self._reader.read()
        except ConnectionError:
            pass
        return time.monotonic() - started

    def is_open(self) -> bool:
        return not self._reader.at_eof()

    def close(self) -> None:
        self._writer.close()


async def connect(server: HttpServer) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", server.port))


async def test_silence_is_ended() -> None:
    async with serving(Bounds(deadlines=deadlines(idle_s=SOON_S))) as server:
        client = await connect(server)
        assert await client.end_s() == pytest.approx(SOON_S, abs=15)


@pytest.mark.parametrize(
    ("phase", "start", "rest"),
    [("header_s", b"GET / HTTP/1.1\r\nX: ", b"x" * 1000), ("body_s", HEAD_OF_POST, b"x" * 99)],
)
async def test_one_byte_after_the_other_gains_nothing(
    phase: str, start: bytes, rest: bytes
) -> None:
    async with serving(Bounds(deadlines=deadlines(**{phase: SOON_S}))) as server:
        client = await connect(server)
        await client.send(start)
        trickling = asyncio.create_task(client.trickle(rest, every_s=0.02))
        assert await client.end_s() < 20
        trickling.cancel()


async def test_an_answer_may_take_longer_than_any_deadline() -> None:
    soon = PortDeadlines(idle_s=SOON_S, header_s=SOON_S, body_s=SOON_S)
    async with serving(Bounds(deadlines=soon)) as server:
        client = await connect(server)
        await client.send(GET.replace(b"\r\n\r\n", b"\r\nSleep: 1\r\n\r\n"))
        assert b"200 OK" in await client.answer()
        assert await client.end_s() < 20  # and then it is idle again


async def test_each_request_of_a_connection_has_its_own_time() -> None:
    async with serving(Bounds(deadlines=PortDeadlines(idle_s=2, header_s=2, body_s=2))) as server:
        client = await connect(server)
        for _ in range(6):
            await client.send(GET)
            assert b"200 OK" in await client.answer()
            await asyncio.sleep(0.5)
        client.close()


async def test_a_handshake_that_does_not_come_is_ended(tmp_path: Path) -> None:
    files = Authority.create(tmp_path / "ours").issue("server")
    bounds = Bounds(deadlines=deadlines(handshake_s=SOON_S))
    async with serving(bounds, Tls(files.cert, files.key)) as server:
        client = await connect(server)
        assert await client.end_s() < 20


async def test_the_oldest_silent_one_of_a_peer_gives_way() -> None:
    async with serving(Bounds(max_connections=12, deadlines=deadlines())) as server:
        silent = []
        for _ in range(3):  # as many as one peer may have
            silent.append(await connect(server))
            await asyncio.sleep(0.05)
        client = await connect(server)
        await client.send(GET)
        assert b"200 OK" in await client.answer()
        assert await silent[0].end_s() < 20
        assert silent[1].is_open()
        assert silent[2].is_open()


@pytest.mark.parametrize("comes_first", [True, False])
async def test_a_request_that_has_come_outlives_a_burst(comes_first: bool) -> None:
    """All come before the server's next look, after slow ones that leave little room."""
    async with serving(Bounds(max_connections=12, deadlines=deadlines())) as server:
        slow = [await connect(server) for _ in range(2)]
        for client in slow:
            await client.send(GET[:10])
        await asyncio.sleep(0.1)
        address = ("127.0.0.1", server.port)
        with contextlib.ExitStack() as stack:
            silent = [stack.enter_context(socket.create_connection(address)) for _ in range(5)]
            asking = stack.enter_context(socket.create_connection(address))
            if not comes_first:
                silent += [stack.enter_context(socket.create_connection(address)) for _ in range(9)]
            asking.sendall(GET)
            silent += [stack.enter_context(socket.create_connection(address)) for _ in range(9)]
            reader, writer = await asyncio.open_connection(sock=asking.dup())
            async with asyncio.timeout(30):
                assert b"200 OK" in await reader.readuntil(b"done")
            writer.close()


async def test_those_that_are_being_answered_do_not() -> None:
    async with serving(Bounds(max_connections=12, deadlines=deadlines())) as server:
        waiting = [await connect(server) for _ in range(3)]
        for client in waiting:
            await client.send(GET.replace(b"\r\n\r\n", b"\r\nSleep: 1\r\n\r\n"))
        await asyncio.sleep(0.3)
        late = await connect(server)
        assert await late.end_s() < 20
        for client in waiting:
            assert b"200 OK" in await client.answer()


async def test_one_that_was_answered_outlives_silent_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_S", FOR_EVER_S)  # however busy the machine is
    async with serving(Bounds(max_connections=12, deadlines=deadlines())) as server:
        kept = await connect(server)
        await kept.send(GET)
        assert b"200 OK" in await kept.answer()
        begun = await connect(server)
        await begun.send(GET[:10])
        silent = [await connect(server) for _ in range(20)]
        assert await silent[0].end_s() < 20
        assert begun.is_open()
        await kept.send(GET)
        assert b"200 OK" in await kept.answer()


async def test_slow_ones_leave_room_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_S", 0.2)
    async with serving(Bounds(max_connections=12, deadlines=deadlines())) as server:
        slow = [await connect(server) for _ in range(3)]
        for client in slow:
            await client.send(GET[:10])
        await asyncio.sleep(0.5)
        fresh = [await connect(server) for _ in range(2)]
        assert await slow[0].end_s() < 5
        assert await slow[1].end_s() < 5
        assert slow[2].is_open()
        for client in fresh:
            await client.send(GET)
            assert b"200 OK" in await client.answer()


async def test_silent_connections_cost_no_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    create = TimedProtocol.__init__

    def counting(self: TimedProtocol, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        create(self, *args, **kwargs)

    monkeypatch.setattr(TimedProtocol, "__init__", counting)
    async with serving(Bounds(deadlines=deadlines())) as server:
        silent = [await connect(server) for _ in range(200)]
        silent[0].close()  # says nothing, and leaves
        client = await connect(server)
        await client.send(GET)
        assert b"200 OK" in await client.answer()
        assert len(made) == 1
        assert all(one.is_open() for one in silent[1:])


async def test_silent_ones_are_closed_with_the_server() -> None:
    async with serving(Bounds(deadlines=deadlines())) as server:
        client = await connect(server)
        await asyncio.sleep(0.1)
    assert await client.end_s() < 20


async def test_places_come_back() -> None:
    async with serving(Bounds(max_connections=12, deadlines=deadlines())) as server:
        for _ in range(50):
            client = await connect(server)
            await client.send(GET)
            assert b"200 OK" in await client.answer()
            client.close()
            await asyncio.sleep(0)


async def test_renewed_certificates_are_used_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.transport.http.certificates.LOOK_EVERY_S", 0)
    old, new = Authority.create(tmp_path / "old"), Authority.create(tmp_path / "new")
    served, renewed = old.issue("server"), new.issue("server")
    async with serving(Bounds(), Tls(served.cert, served.key, old.ca)) as server:
        assert await shakes_hands(server, old, tmp_path)
        served.cert.write_bytes(b"half written")
        assert await shakes_hands(server, old, tmp_path)
        for now, then in ((served.cert, renewed.cert), (served.key, renewed.key), (old.ca, new.ca)):
            now.write_bytes(then.read_bytes())
        assert await shakes_hands(server, new, tmp_path)
        old_client = Authority.create(tmp_path / "older").issue("client")
        assert not await shakes_hands(server, new, tmp_path, old_client.cert, old_client.key)


async def shakes_hands(
    server: HttpServer,
    authority: Authority,
    folder: Path,
    cert: Path | None = None,
    key: Path | None = None,
) -> bool:
    """Whether both sides trust each other, the client with a certificate of this authority."""
    files = authority.issue("client")
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.load_cert_chain(cert or files.cert, key or files.key)
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=context, server_hostname="localhost"
        )
        writer.write(GET)
        data = await reader.readuntil(b"done")
        writer.close()
    except (OSError, asyncio.IncompleteReadError):
        return False
    return b"200 OK" in data
