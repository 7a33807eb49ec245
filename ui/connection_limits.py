"""Limits the studio's connections: deadlines for what clients must send, and how many there may be.

uvicorn has neither, and Streamlit starts it for us. So it is handed our protocol before it listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if sys.platform != "win32":
    import resource

MOST = 4000
PEER_SHARE = 4  # a peer may have 1/PEER_SHARE of all in connections that have said nothing yet
DESCRIPTORS = 4  # of a session: its connection, and three of Streamlit's event loop for it
RESERVED = 128  # file descriptors for the gallery, its database and the backend
FEWEST = 64


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds in which a client must send each part; single bytes don't extend them."""

    idle_s: float = 15.0  # until the first byte of a request
    header_s: float = 10.0  # from there to the end of its headers
    body_s: float = 300.0  # from there to the end of its body: an upload of 16 MB
    message_s: float = 20.0  # from a websocket's opening to its first message


class Connections:
    """All that are open, at most `most`: those that are silent longest are closed for new ones."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[BoundedProtocol] = set()
        self._silent: dict[BoundedProtocol, None] = {}  # longest first
        self._silent_of: defaultdict[str, dict[BoundedProtocol, None]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._open)

    def add(self, new: BoundedProtocol) -> None:
        """Take it in, and close another one, or itself, if there are too many."""
        self._open.add(new)
        self.hear(new, is_silent=True)
        of_peer = self._silent_of[new.peer]
        if len(of_peer) > self._most // PEER_SHARE:
            next(iter(of_peer)).drop()
        elif len(self._open) > self._most:
            next(iter(self._silent)).drop()

    def hear(self, one: BoundedProtocol, *, is_silent: bool) -> None:
        """Note whether we wait for what this client sends."""
        self._silent.pop(one, None)
        self._silent_of[one.peer].pop(one, None)
        if is_silent:
            self._silent[one] = self._silent_of[one.peer][one] = None
        elif not self._silent_of[one.peer]:
            del self._silent_of[one.peer]

    def forget(self, one: BoundedProtocol) -> None:
        """It is closed."""
        self.hear(one, is_silent=False)
        self._open.discard(one)


class BoundedProtocol(H11Protocol):
    """One connection, until it is closed: a websocket's, too."""

    def __init__(self, connections: Connections, deadlines: Deadlines, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._connections = connections
        self._deadlines = deadlines
        self._phase = ""
        self._timer: asyncio.TimerHandle | None = None
        self.peer = ""

    def drop(self) -> None:
        """Close the connection immediately."""
        self.transport.abort()
        self._lost()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else ""
        self._connections.add(self)
        self._await("idle", self._deadlines.idle_s)

    def data_received(self, data: bytes) -> None:
        if self._phase == "idle":
            self._await("header", self._deadlines.header_s)
        super().data_received(data)
        self._follow()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._follow()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """uvicorn hands the connection on to another protocol, whose calls we see from here on."""
        super().handle_websocket_upgrade(event)
        self._await("websocket", self._deadlines.message_s)
        websocket: Any = self.transport.get_protocol()
        received, lost = websocket.data_received, websocket.connection_lost

        def data_received(data: bytes) -> None:
            if self._timer is not None:
                self._await("websocket", None)
            received(data)

        def connection_lost(exc: Exception | None) -> None:
            self._lost()
            lost(exc)

        websocket.data_received, websocket.connection_lost = data_received, connection_lost

    def _lost(self) -> None:
        self._await("lost", None)
        self._connections.forget(self)

    def _follow(self) -> None:
        if self._phase == "websocket":
            return
        match self.conn.their_state:
            case h11.IDLE if self._phase not in ("idle", "header"):
                self._await("idle", self._deadlines.idle_s)
            case h11.SEND_BODY if self._phase != "body":
                self._await("body", self._deadlines.body_s)
            case h11.DONE | h11.MUST_CLOSE | h11.CLOSED if self._phase != "answer":
                self._await("answer", None)

    def _await(self, phase: str, seconds: float | None) -> None:
        """Start a phase in which the client must send something in `seconds` (None: nothing)."""
        if self._timer is not None:
            self._timer.cancel()
        if self._phase == "lost":
            return
        self._phase = phase
        self._timer = None if seconds is None else self.loop.call_later(seconds, self.drop)
        self._connections.hear(self, is_silent=seconds is not None)


def limit_connections(most: int | None = None, deadlines: Deadlines | None = None) -> Connections:
    """Make every uvicorn server that starts from now on keep the limits."""
    connections = Connections(most or most_connections())
    protocol = partial(BoundedProtocol, connections, deadlines or Deadlines())
    start = uvicorn.Server.startup

    async def startup(server: uvicorn.Server, sockets: Any = None) -> None:
        server.config.http_protocol_class = protocol  # type: ignore[assignment]
        await start(server, sockets)

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
