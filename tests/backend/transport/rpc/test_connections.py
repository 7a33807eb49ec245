"""Which gRPC connections are closed when there are many."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from backend.transport.rpc import connections
from backend.transport.rpc.connections import Connection, too_many_of_a_peer
from tests.support.fakes import FakeModel, Gate
from tests.support.served import ask, served, until


def test_the_oldest_of_a_peer_are_too_many() -> None:
    many = [Connection(n, ("10.0.0.7", n)) for n in range(5)]
    other = Connection(9, ("10.0.0.8", 9))
    assert [*too_many_of_a_peer([*many, other], 3)] == many[:2]


@contextlib.contextmanager
def idle(port: int, number: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(number)
        ]


def has_ended(sock: socket.socket) -> bool:
    """Whether the server hung up; what it greeted us with is read away."""
    sock.setblocking(False)
    try:
        while sock.recv(4096):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize("has_descriptors", [True, False])
def test_established_ones_are_found_by_port(
    has_descriptors: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_descriptors:  # as on Windows
        monkeypatch.setattr(connections, "DESCRIPTORS", "/nowhere")
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        server.accept()[0] as taken,
    ):
        found = connections.established(server.getsockname()[1])
        assert found == [Connection(taken.fileno(), client.getsockname())]
        taken.send(b"still open")
        assert client.recv(10) == b"still open"


async def test_during_a_flood_it_looks_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wave is closed long before the next look of a calm port would come."""
    monkeypatch.setattr(connections, "LOOK_EVERY_S", 6.0)
    async with served(max_connections=16) as running:
        with idle(running.port, 8) as first:
            await until(lambda: sum(map(has_ended, first)) >= 4)
            with idle(running.port, 8) as second:
                started = asyncio.get_running_loop().time()
                await until(lambda: sum(map(has_ended, [*first, *second])) >= 12)
                assert asyncio.get_running_loop().time() - started < 5


async def test_unused_ones_go_and_the_one_that_is_waited_on_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "LOOK_EVERY_S", 0.05)
    gate = Gate()
    async with served(FakeModel(gate=gate), max_connections=16) as running:
        call = asyncio.ensure_future(running.stub.GenerateImage(ask(), timeout=60))
        await asyncio.to_thread(gate.wait_arrived, 1)
        with idle(running.port, 12) as silent:  # a peer may have 4
            await until(lambda: sum(map(has_ended, silent)) >= 8, 20)
            await asyncio.sleep(4 * connections.LOOK_EVERY_S)
            assert sum(map(has_ended, silent)) == 8  # which, among those found by one look, is open
        gate.open()
        assert len((await call).images) == 1
