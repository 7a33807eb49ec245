"""Accepts connections with limits in total and per peer; closes the oldest silent ones for new.

A connection costs little until its first byte comes: then it gets its protocol and, with TLS, its
handshake. So a flood of silent connections is taken as fast as the kernel hands them over, and does
not keep others waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import ssl
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count

import structlog

from backend.transport.http.protocol import BoundedProtocol, Deadlines

log = structlog.get_logger(__name__)

MakeProtocol = Callable[[Callable[[], None]], BoundedProtocol]

EXHAUSTED_S = 0.1  # pause after accept failed, for example without free file descriptors
AT_ONCE = 16  # during a flood of connections, other tasks run after so many
PEER_SHARE = 4  # a peer may have 1/PEER_SHARE of all connections


class Rank(enum.IntEnum):
    """How soon a connection gives way to a new one."""

    SAID_NOTHING = 0
    ASKED_NOTHING = 1  # no complete request yet
    WAS_ANSWERED = 2  # kept open for its next request
    STAYS = 3  # is being answered


@dataclass(eq=False, slots=True)
class Connection:
    """One accepted socket.

    `timer` runs until the first byte; `protocol` is set from then on, after the TLS handshake.
    """

    peer: str
    sock: socket.socket
    timer: asyncio.TimerHandle | None = None
    protocol: BoundedProtocol | None = None

    @property
    def rank(self) -> Rank:
        if self.timer is not None:
            return Rank.SAID_NOTHING
        if self.protocol is None:
            return Rank.ASKED_NOTHING
        if not self.protocol.is_silent:
            return Rank.STAYS
        return Rank.WAS_ANSWERED if self.protocol.has_answered else Rank.ASKED_NOTHING

    def has_sent(self) -> bool | None:
        """Whether bytes have come that were not read yet; None: the client hung up."""
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK)) or None
        except BlockingIOError:
            return False
        except OSError:
            return None

    def stop_waiting(self) -> None:
        """Don't wait for the first byte any longer."""
        assert self.timer is not None
        self.timer.cancel()
        self.timer = None
        asyncio.get_running_loop().remove_reader(self.sock)

    def drop(self) -> None:
        """Close the connection immediately."""
        if self.timer is not None:
            self.stop_waiting()
            self.sock.close()
        elif self.protocol is not None:
            self.protocol.drop()
        else:
            with contextlib.suppress(OSError):  # makes the handshake fail, which cleans up
                self.sock.shutdown(socket.SHUT_RDWR)


class Listener:
    """Accepts on listening sockets until `close()`. Has the methods that uvicorn asks of it."""

    def __init__(
        self,
        sockets: Iterable[socket.socket],
        make_protocol: MakeProtocol,
        max_connections: int,
        deadlines: Deadlines,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._make_protocol = make_protocol
        self._max_connections = max_connections
        self._max_per_peer = max(1, max_connections // PEER_SHARE)
        self._handshake_s = deadlines.handshake_s
        self._first_byte_s = deadlines.idle_s if tls is None else deadlines.handshake_s
        self._tls = tls
        self._connections: dict[Connection, None] = {}  # oldest first
        self._by_peer: defaultdict[str, dict[Connection, None]] = defaultdict(dict)
        self._opening: set[asyncio.Task[None]] = set()
        self._tasks = [asyncio.create_task(self._accept(sock)) for sock in sockets]

    def close(self) -> None:
        """Take no more; those that have sent something go on."""
        for task in (*self._tasks, *self._opening):
            task.cancel()
        for connection in [c for c in self._connections if c.rank is Rank.SAID_NOTHING]:
            self._end(connection)

    async def wait_closed(self) -> None:
        """Return once no more are taken."""
        await asyncio.gather(*self._tasks, *self._opening, return_exceptions=True)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        for number in count(1):
            try:
                sock, address = await loop.sock_accept(listening)
            except OSError as error:
                if not self._give_way(self._connections):
                    log.warning("no connection could be taken", error=str(error))
                await asyncio.sleep(EXHAUSTED_S)
                continue
            self._admit(sock, str(address[0]))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    def _admit(self, sock: socket.socket, peer: str) -> None:
        for known, most in (
            (self._by_peer[peer], self._max_per_peer),
            (self._connections, self._max_connections),
        ):
            if len(known) >= most and not self._give_way(known):
                sock.close()
                return
        connection = Connection(peer, sock)
        self._connections[connection] = self._by_peer[peer][connection] = None
        loop = asyncio.get_running_loop()
        connection.timer = loop.call_later(self._first_byte_s, self._end, connection)
        loop.add_reader(sock, self._begin, connection)

    def _begin(self, connection: Connection) -> None:
        """Its first byte has come, or its end."""
        if not connection.has_sent():
            self._end(connection)
            return
        connection.stop_waiting()
        opening = asyncio.create_task(self._open(connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open(self, connection: Connection) -> None:
        protocol = self._make_protocol(lambda: self._forget(connection))
        tls = self._tls() if self._tls is not None else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                connection.sock,
                ssl=tls,
                ssl_handshake_timeout=self._handshake_s if tls is not None else None,
            )
            connection.protocol = protocol
        except (OSError, asyncio.CancelledError):  # includes ssl.SSLError and TimeoutError
            connection.sock.close()
            self._forget(connection)

    def _give_way(self, connections: dict[Connection, None]) -> bool:
        """Close the oldest of the lowest rank. Returns False if all are being answered.

        Requests that came meanwhile begin instead: closing a socket with unread bytes would reset
        it, and the client has done nothing wrong.
        """
        lowest, rank = None, Rank.STAYS
        for connection in connections:
            if connection.rank is Rank.SAID_NOTHING and connection.has_sent():
                self._begin(connection)
            if connection.rank < rank:
                lowest, rank = connection, connection.rank
                if rank is Rank.SAID_NOTHING:
                    break
        if lowest is None:
            return False
        self._end(lowest)
        return True

    def _end(self, connection: Connection) -> None:
        connection.drop()
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        self._connections.pop(connection, None)
        of_peer = self._by_peer[connection.peer]
        of_peer.pop(connection, None)
        if not of_peer:
            del self._by_peer[connection.peer]
