"""Closes idle gRPC connections before they block new ones.

grpc limits the number of connections and refuses new ones beyond it, but has no limit per peer.
It does not expose its connections, so we find them among the process's file descriptors.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import psutil
import structlog

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.5
# For FLOOD_S after some were closed: a full port refuses new ones until the next look.
LOOK_AGAIN_S = 0.05
FLOOD_S = 30.0
DESCRIPTORS = "/dev/fd"
FULL = 0.5  # unused connections above this share of the limit are closed
PEER_SHARE = 4  # a peer may have 1/PEER_SHARE of the limit in unused connections

Address = tuple[str, int]  # the client's host and port


class Connection(NamedTuple):
    """One established connection to our port."""

    descriptor: int
    peer: Address


class Caretaker:
    """Checks the connections on our port periodically and closes the oldest unused ones.

    Args:
        port: our port.
        max_connections: grpc's limit.
        in_use: whether there is a call in flight from an address.
    """

    def __init__(self, port: int, max_connections: int, in_use: Callable[[Address], bool]) -> None:
        self._port = port
        self._most = int(FULL * max_connections)
        self._most_per_peer = max(1, max_connections // PEER_SHARE)
        self._in_use = in_use
        self._known: dict[Connection, None] = {}  # oldest first

    async def run(self) -> None:
        """Run until cancelled."""
        flood_ends_s = time.perf_counter()
        while True:
            is_flood = time.perf_counter() < flood_ends_s
            await asyncio.sleep(LOOK_AGAIN_S if is_flood else LOOK_EVERY_S)
            if num_descriptors() <= min(self._most, self._most_per_peer):
                self._known.clear()
            elif self._end_unused(await asyncio.to_thread(established, self._port)):
                flood_ends_s = time.perf_counter() + FLOOD_S

    def hang_up(self, peer: Address) -> None:
        """Close the connection from this address. Blocks for some milliseconds."""
        for connection in established(self._port):
            if connection.peer == peer:
                end(connection)

    def _end_unused(self, found: list[Connection]) -> int:
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
        return len(too_many)


def too_many_of_a_peer(connections: Iterable[Connection], most: int) -> Iterable[Connection]:
    """The oldest connections of each peer host beyond its newest `most`."""
    by_peer: defaultdict[str, list[Connection]] = defaultdict(list)
    for connection in connections:
        by_peer[connection.peer[0]].append(connection)
    for of_peer in by_peer.values():
        yield from of_peer[: max(0, len(of_peer) - most)]


def num_descriptors() -> int:
    """Open file descriptors of the process; a large number if unknown."""
    try:
        return len(os.listdir(DESCRIPTORS))
    except OSError:
        return 2**31


def established(port: int) -> list[Connection]:
    """Established connections to `port` of this process."""
    if os.path.isdir(DESCRIPTORS):
        return [*_among_descriptors(port)]
    return [
        Connection(one.fd, (plain(one.raddr.ip), one.raddr.port))
        for one in psutil.Process().net_connections("tcp")
        if one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port and one.fd >= 0
    ]


def _among_descriptors(port: int) -> Iterator[Connection]:
    """As psutil would find them, at a seventh of its cost for 450."""
    for descriptor in map(int, os.listdir(DESCRIPTORS)):
        try:
            sock = socket.socket(fileno=descriptor)
        except OSError:
            continue  # no socket, or closed meanwhile
        try:
            if _port(sock.getsockname()) == port:
                host, peer_port = sock.getpeername()[:2]
                yield Connection(descriptor, (plain(host), peer_port))
        except OSError:
            continue  # it listens, or was closed meanwhile
        finally:
            sock.detach()


def _port(address: object) -> int | None:
    """None for Unix sockets."""
    return int(address[1]) if isinstance(address, tuple) else None


def end(connection: Connection) -> None:
    """Shut the socket down; grpc notices and closes its own descriptor."""
    try:
        with socket.socket(fileno=os.dup(connection.descriptor)) as sock:
            host, port = sock.getpeername()[:2]
            if (plain(host), port) == connection.peer:  # the descriptor may have been reused
                sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # already closed


def plain(address: str) -> str:
    """An IPv4-mapped IPv6 address as plain IPv4, like grpc writes it."""
    return address.removeprefix("::ffff:")
