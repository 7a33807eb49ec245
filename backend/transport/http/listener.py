"""Accepts connections with limits in total and per peer; closes the oldest silent ones for new.

A connection costs little until its first byte comes: then it gets its protocol and, with TLS, its
handshake. So a flood of silent connections is taken as fast as the kernel hands them over, and does
not keep others waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from webserver.protocol import Deadlines, TimedProtocol
from webserver.waiting import PEER_SHARE, Connections, Wait, has_unread

log = structlog.get_logger(__name__)

MakeProtocol = Callable[[Callable[[Wait], None], Callable[[], None]], TimedProtocol]

EXHAUSTED_S = 0.1  # pause after accept failed, for example without free file descriptors
AT_ONCE = 16  # during a flood of connections, other tasks run after so many


@dataclass(frozen=True, slots=True)
class PortDeadlines(Deadlines):
    """Those of the port, in seconds."""

    handshake_s: float = 10.0  # TLS handshake


@dataclass(eq=False, slots=True)
class Connection:
    """One accepted socket.

    `timer` runs until the first byte; `protocol` is set from then on, after the TLS handshake.
    """

    peer: str
    sock: socket.socket
    connections: Connections[Connection]
    timer: asyncio.TimerHandle | None = None
    protocol: TimedProtocol | None = None

    def has_unread(self) -> bool:
        """Whether bytes have come that were not read yet."""
        return has_unread(self.sock)

    def waits_for(self, wait: Wait) -> None:
        """It waits for this from now on."""
        self.connections.note(self, wait)

    def forget(self) -> None:
        """It is closed."""
        self.connections.forget(self)

    def stop_waiting(self) -> None:
        """Don't wait for the first byte any longer."""
        assert self.timer is not None
        self.timer.cancel()
        self.timer = None
        asyncio.get_running_loop().remove_reader(self.sock.fileno())

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
        self.forget()


class Listener:
    """Accepts on listening sockets until `close()`. Has the methods that uvicorn asks of it."""

    def __init__(
        self,
        sockets: Iterable[socket.socket],
        make_protocol: MakeProtocol,
        max_connections: int,
        deadlines: PortDeadlines,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._make_protocol = make_protocol
        of_peer = max(1, max_connections // PEER_SHARE)
        self._connections = Connections[Connection](max_connections, of_peer, of_peer)
        self._handshake_s = deadlines.handshake_s
        self._first_byte_s = deadlines.idle_s if tls is None else deadlines.handshake_s
        self._tls = tls
        self._opening: set[asyncio.Task[None]] = set()
        self._listening = list(sockets)
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        for sock in self._listening:
            sock.setblocking(False)
            self._listen(sock)

    def close(self) -> None:
        """Take no more; those that have sent something go on."""
        for sock in self._listening:
            self._pause(sock)
        for pause in self._pauses.values():
            pause.cancel()
        for task in self._opening:
            task.cancel()
        for connection in self._connections:
            if connection.timer is not None:
                connection.drop()

    async def wait_closed(self) -> None:
        """Return once no more are taken."""
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _listen(self, listening: socket.socket) -> None:
        # By number: of a socket, the selector makes a text first, at half the cost of accepting.
        loop = asyncio.get_running_loop()
        loop.add_reader(listening.fileno(), self._accept, listening)

    def _pause(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(listening.fileno())

    def _accept(self, listening: socket.socket) -> None:
        """Take those that have come, a few at a time."""
        for _ in range(AT_ONCE):
            try:
                sock, address = listening.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                self._make_room(listening, error)
                return
            sock.setblocking(False)
            self._admit(sock, str(address[0]))

    def _make_room(self, listening: socket.socket, error: OSError) -> None:
        if not self._connections.close_one():
            log.warning("no connection could be taken", error=str(error))
        self._pause(listening)
        loop = asyncio.get_running_loop()
        self._pauses[listening] = loop.call_later(EXHAUSTED_S, self._listen, listening)

    def _admit(self, sock: socket.socket, peer: str) -> None:
        if not self._connections.has_room_for(peer):
            sock.close()
            return
        connection = Connection(peer, sock, self._connections)
        connection.waits_for(Wait.FIRST_BYTE)
        loop = asyncio.get_running_loop()
        connection.timer = loop.call_later(self._first_byte_s, connection.drop)
        loop.add_reader(sock.fileno(), self._begin, connection)

    def _begin(self, connection: Connection) -> None:
        """Its first byte has come, or its end."""
        if not connection.has_unread():
            connection.drop()
            return
        connection.stop_waiting()
        connection.waits_for(Wait.HEADERS)
        opening = asyncio.create_task(self._open(connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open(self, connection: Connection) -> None:
        protocol = self._make_protocol(connection.waits_for, connection.forget)
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
            connection.forget()
