"""Limits the studio's connections: deadlines for what clients must send, and how many there may be.

uvicorn has neither, and Streamlit starts it for us. So it is handed our protocol before it listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.utils import get_remote_addr

from webserver.protocol import Deadlines, TimedProtocol
from webserver.waiting import PEER_SHARE, Connections, Wait, has_unread

if sys.platform != "win32":
    import resource

MOST = 4000
AT_ONCE = 16  # during a flood of connections, visitors are served after so many
BACKLOG = 2048  # those that the system holds for us meanwhile
DESCRIPTORS = 4  # of a session: its connection, and three of Streamlit's event loop for it
RESERVED = 128  # file descriptors for the gallery, its database and the backend
FEWEST = 64


@dataclass(frozen=True, slots=True)
class StudioDeadlines(Deadlines):
    """Those of the studio, in seconds."""

    body_s: float = 300.0  # an upload of 16 MB
    message_s: float = 20.0  # from a websocket's opening to its first message


class StudioProtocol(TimedProtocol):
    """One connection, until it is closed: a websocket's, too."""

    def __init__(
        self,
        connections: Connections[StudioProtocol],
        deadlines: StudioDeadlines,
        **uvicorn_args: Any,
    ) -> None:
        super().__init__(
            deadlines,
            on_wait=lambda wait: connections.note(self, wait),
            on_lost=lambda: connections.forget(self),
            **uvicorn_args,
        )
        self._connections = connections
        self._message_s = deadlines.message_s
        self.peer = ""

    def has_unread(self) -> bool:
        """Whether bytes have come that were not read yet."""
        sock = socket.socket(fileno=self.transport.get_extra_info("socket").fileno())
        try:
            return has_unread(sock)
        finally:
            sock.detach()  # it stays the transport's

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.peer = (get_remote_addr(transport) or ("",))[0]
        has_room = self._connections.has_room_for(self.peer)
        super().connection_made(transport)
        if not has_room:
            self.drop()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """uvicorn hands the connection on to another protocol, whose calls we see from here on."""
        super().handle_websocket_upgrade(event)
        self.wait_for(Wait.HEADERS, self._message_s)
        websocket: Any = self.transport.get_protocol()
        received, lost = websocket.data_received, websocket.connection_lost

        def data_received(data: bytes) -> None:
            self.wait_for(Wait.ANSWER)
            received(data)

        def connection_lost(exc: Exception | None) -> None:
            self.lose()
            lost(exc)

        websocket.data_received, websocket.connection_lost = data_received, connection_lost


def limit_connections(
    most: int | None = None, deadlines: StudioDeadlines | None = None
) -> Connections[StudioProtocol]:
    """Make every uvicorn server that starts from now on keep the limits."""
    most = most or most_connections()
    # Behind a proxy all visitors come from one address, so what they use is not counted.
    connections = Connections[StudioProtocol](most, most, max(1, most // PEER_SHARE))
    protocol = partial(StudioProtocol, connections, deadlines or StudioDeadlines())
    start = uvicorn.Server.startup

    async def startup(server: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
        server.config.http_protocol_class = protocol  # type: ignore[assignment]
        server.config.backlog = AT_ONCE  # asyncio accepts as many in one turn of its loop
        await start(server, sockets)
        for sock in sockets or []:
            sock.listen(BACKLOG)

    server_class: Any = uvicorn.Server
    server_class.startup = startup
    return connections


def most_connections() -> int:
    """`MOST`, or what file descriptors allow, whose soft limit is raised as far as it goes."""
    if sys.platform == "win32":
        return MOST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft == resource.RLIM_INFINITY:
        return MOST
    return max(FEWEST, min(MOST, (soft - RESERVED) // DESCRIPTORS))
