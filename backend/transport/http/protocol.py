"""uvicorn's HTTP/1.1 protocol with deadlines for receiving requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds in which a client must send each part; single bytes don't extend them."""

    handshake_s: float = 10.0  # TLS handshake
    idle_s: float = 15.0  # until the first byte of a request
    header_s: float = 10.0  # from there to the end of its headers
    body_s: float = 30.0  # from there to the end of its body


class BoundedProtocol(H11Protocol):
    """One connection. `on_lost` is called when it is closed."""

    def __init__(self, deadlines: Deadlines, on_lost: Callable[[], None], **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._deadlines = deadlines
        self._on_lost = on_lost
        self._phase = ""
        self._timer: asyncio.TimerHandle | None = None
        self.is_silent = True  # we are waiting for bytes of the client
        self.has_answered = False

    def drop(self) -> None:
        """Close the connection immediately."""
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await("idle", self._deadlines.idle_s)

    def data_received(self, data: bytes) -> None:
        if self._phase == "idle":
            self._await("header", self._deadlines.header_s)
        super().data_received(data)
        self._follow()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.has_answered = True
        self._follow()

    def connection_lost(self, exc: Exception | None) -> None:
        self._await("lost", None)
        super().connection_lost(exc)
        self._on_lost()

    def _follow(self) -> None:
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
        self._phase = phase
        self._timer = None if seconds is None else self.loop.call_later(seconds, self.drop)
        self.is_silent = seconds is not None
