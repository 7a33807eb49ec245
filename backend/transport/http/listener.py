"""Accepts connections with limits in total and per peer; closes the oldest silent ones for new."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from backend.transport.http.protocol import BoundedProtocol

log = structlog.get_logger(__name__)

MakeProtocol = Callable[[Callable[[], None]], BoundedProtocol]

EXHAUSTED_S = 0.1  # pause after accept failed, for example without free file descriptors
AT_ONCE = 16
PEER_SHARE = 4  # a peer may have 1/PEER_SHARE of all connections


@dataclass(eq=False, slots=True)
class Connection:
    """One accepted socket; `protocol` is set after the TLS handshake."""

    peer: str
    sock: socket.socket
    protocol: BoundedProtocol | None = None

    @property
    def is_silent(self) -> bool:
        """Whether we are waiting for bytes of the client."""
        return self.protocol is None or self.protocol.is_silent

    def drop(self) -> None:
        """Close the connection immediately."""
        if self.protocol is not None:
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
        handshake_s: float,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._make_protocol = make_protocol
        self._max_connections = max_connections
        self._max_per_peer = max(1, max_connections // PEER_SHARE)
        self._handshake_s = handshake_s
        self._tls = tls
        self._connections: dict[Connection, None] = {}  # oldest first
        self._by_peer: defaultdict[str, dict[Connection, None]] = defaultdict(dict)
        self._opening: set[asyncio.Task[None]] = set()
        self._tasks = [asyncio.create_task(self._accept(sock)) for sock in sockets]

    def close(self) -> None:
        """Take no more; those that are open go on."""
        for accepting in self._tasks:
            accepting.cancel()
        for task in self._opening:
            task.cancel()

    async def wait_closed(self) -> None:
        """Return once no more are taken."""
        await asyncio.gather(*self._tasks, *self._opening, return_exceptions=True)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        while True:
            try:
                sock, address = await loop.sock_accept(listening)
            except OSError as error:
                if not self._give_way(self._connections):
                    log.warning("no connection could be taken", error=str(error))
                await asyncio.sleep(EXHAUSTED_S)
                continue
            self._admit(sock, str(address[0]))
            if len(self._opening) >= AT_ONCE:  # during a flood of connections, let other tasks run
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
        """Close the oldest silent connection. Returns False if all are being answered."""
        oldest = next((c for c in connections if c.is_silent), None)
        if oldest is None:
            return False
        oldest.drop()
        self._forget(oldest)
        return True

    def _forget(self, connection: Connection) -> None:
        self._connections.pop(connection, None)
        of_peer = self._by_peer[connection.peer]
        of_peer.pop(connection, None)
        if not of_peer:
            del self._by_peer[connection.peer]
