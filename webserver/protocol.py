"""uvicorn's HTTP/1.1 protocol with deadlines for receiving requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from webserver.waiting import Wait


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds in which a client must send each part; single bytes don't extend them."""

    idle_s: float = 15.0  # until the first byte of a request
    header_s: float = 10.0  # from there to the end of its headers
    body_s: float = 30.0  # from there to the end of its body


class TimedProtocol(H11Protocol):
    """One connection, which is closed when its client misses a deadline.

    Args:
        on_wait: called with what it waits for, whenever this changes.
        on_lost: called when it is closed, maybe twice.
    """

    def __init__(
        self,
        deadlines: Deadlines,
        on_wait: Callable[[Wait], None],
        on_lost: Callable[[], None],
        **uvicorn: Any,
    ) -> None:
        super().__init__(**uvicorn)
        self._deadlines = deadlines
        self._on_wait = on_wait
        self._on_lost = on_lost
        self._wait: Wait | None = None  # None before and after its time
        self._is_lost = False
        self._timer: asyncio.TimerHandle | None = None

    def drop(self) -> None:
        """Close the connection immediately."""
        if self.transport is not None:
            self.transport.abort()
        self.lose()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.wait_for(Wait.FIRST_BYTE, self._deadlines.idle_s)

    def data_received(self, data: bytes) -> None:
        if self._wait in (Wait.FIRST_BYTE, Wait.NEXT_REQUEST):
            self.wait_for(Wait.HEADERS, self._deadlines.header_s)
        super().data_received(data)
        self._follow()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._follow()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lose()
        super().connection_lost(exc)

    def wait_for(self, wait: Wait, seconds: float | None = None) -> None:
        """Close the connection unless it waits for something else in `seconds`."""
        if self._is_lost:
            return
        self._stop_timer()
        if seconds is not None:
            self._timer = self.loop.call_later(seconds, self.drop)
        self._wait = wait
        self._on_wait(wait)

    def _follow(self) -> None:
        match self.conn.their_state:
            case h11.IDLE if self._wait in (Wait.BODY, Wait.ANSWER):
                self.wait_for(Wait.NEXT_REQUEST, self._deadlines.idle_s)
            case h11.SEND_BODY if self._wait is not Wait.BODY:
                self.wait_for(Wait.BODY, self._deadlines.body_s)
            case h11.DONE | h11.MUST_CLOSE | h11.CLOSED if self._wait is not Wait.ANSWER:
                self.wait_for(Wait.ANSWER)

    def lose(self) -> None:
        """It is closed."""
        self._is_lost = True
        self._stop_timer()
        self._on_lost()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
