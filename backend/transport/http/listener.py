"""Accepts connections with limits in total and per peer; closes the oldest silent ones for new."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import defaultdict
from collections.abc import Callable
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
    """Accepts on a listening socket until `close()`. Has the methods that uvicorn calls."""

    def __init__(
        self,
        sock: socket.socket,
        make_protocol: MakeProtocol,
        max_connections: int,
        handshake_s: float,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._sock = sock
        self._make_protocol = make_protocol
        self._max_connections = max_connections
        self._max_per_peer = max(1, max_connections // PEER_SHARE)
        self._handshake_s = handshake_s
        self._tls = tls
        self._connections: dict[Connection, None] = {}  # oldest first
        self._by_peer: defaultdict[str, dict[Connection, None]] = defaultdict(dict)
        self._opening: set[asyncio.Task[None]] = set()
        sock.setblocking(False)
        self._task = asyncio.create_task(self._accept())

    def close(self) -> None:
        """Stop accepting; open connections continue."""
        self._task.cancel()
        for task in self._opening:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until accepting has stopped."""
        await asyncio.gather(self._task, *self._opening, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(self._sock)
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
