"""Ends gRPC connections that nobody uses before they keep others out.

grpc bounds how many it takes, refuses whoever comes when they are all there, and has no bound per
peer. It shows us its connections only as the process's file descriptors.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

import psutil
import structlog

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.5
FULL = 0.5  # share of all connections from which on the unused ones have to go
PEER_SHARE = 4  # a peer may hold one in so many of all unused connections

Address = tuple[str, int]  # host and port of the client's end


class Connection(NamedTuple):
    """One established connection of ours."""

    descriptor: int
    peer: Address


class Caretaker:
    """Looks at the connections on our port now and then, and ends the oldest unused ones.

    Args:
        in_use: whether a client's end has a call in flight.
    """

    def __init__(self, port: int, max_connections: int, in_use: Callable[[Address], bool]) -> None:
        self._port = port
        self._most = int(FULL * max_connections)
        self._most_per_peer = max(1, max_connections // PEER_SHARE)
        self._in_use = in_use
        self._known: dict[Connection, None] = {}  # oldest first

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if num_descriptors() > min(self._most, self._most_per_peer):
                self._end_unused(await asyncio.to_thread(established, self._port))
            else:
                self._known.clear()

    def hang_up(self, peer: Address) -> None:
        """End the connection of this client's end. Blocks for some milliseconds."""
        for connection in established(self._port):
            if connection.peer == peer:
                end(connection)

    def _end_unused(self, found: list[Connection]) -> None:
        present = set(found)
        self._known = {c: None for c in self._known if c in present} | dict.fromkeys(found)
        unused = [c for c in self._known if not self._in_use(c.peer)]
        too_many = [*too_many_of_a_peer(unused, self._most_per_peer)]
        rest = [c for c in unused if c not in set(too_many)]
        too_many += rest[: max(0, len(rest) - self._most)]
        for connection in too_many:
            end(connection)
        if too_many:
            log.warning("unused connections ended", server="grpc", connections=len(too_many))


def too_many_of_a_peer(connections: Iterable[Connection], most: int) -> Iterable[Connection]:
    """The oldest of each peer that has more than `most`."""
    by_peer: defaultdict[str, list[Connection]] = defaultdict(list)
    for connection in connections:
        by_peer[connection.peer[0]].append(connection)
    for of_peer in by_peer.values():
        yield from of_peer[: max(0, len(of_peer) - most)]


def num_descriptors() -> int:
    """Open file descriptors of the process; a large number where that is not known."""
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return 2**31


def established(port: int) -> list[Connection]:
    """Connections of this process to its `port`."""
    return [
        Connection(one.fd, (plain(one.raddr.ip), one.raddr.port))
        for one in psutil.Process().net_connections("tcp")
        if one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port and one.fd >= 0
    ]


def end(connection: Connection) -> None:
    """Hang up, for grpc to notice; its descriptor stays its own."""
    try:
        with socket.socket(fileno=os.dup(connection.descriptor)) as sock:
            host, port = sock.getpeername()[:2]
            if (plain(host), port) == connection.peer:  # not another's by now
                sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # gone already


def plain(address: str) -> str:
    """An IPv4 address on a socket of both families, as grpc names it."""
    return address.removeprefix("::ffff:")
