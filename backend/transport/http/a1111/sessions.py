"""State of A1111's API per caller: options and running jobs.

A1111 itself has one global state.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request

from proto import text2image_pb2 as pb

T = TypeVar("T")

MAX_SESSIONS = 1000  # LRU: the least recently seen callers are dropped


@dataclass(eq=False)
class Job:
    """One txt2img call: `count` rounds, each a separate request, one after another."""

    count: int
    num_steps: int
    begun_at: time.struct_time = field(default_factory=time.localtime)
    number: int = 0  # of the current round, from 0
    step: int = 0
    eta_s: float = 0.0
    waits_behind: int | None = None  # None: not in the queue
    preview: bytes = b""
    was_skipped: bool = False
    was_interrupted: bool = False
    _round: asyncio.Task[Any] | None = None

    async def run(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Run a round's `work`; None if it was skipped or interrupted."""
        self._round = asyncio.create_task(work)
        try:
            await asyncio.wait({self._round})
            return None if self._round.cancelled() else self._round.result()
        finally:  # we are cancelled if the caller disconnects
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)

    def watch(self, event: pb.GenerateImageEvent) -> None:
        """Record the round's progress."""
        if event.HasField("queued"):
            self.waits_behind = event.queued.position
            self.eta_s = event.queued.estimated_wait_ms / 1000
        elif event.HasField("progress"):
            self.waits_behind = None
            self.step, self.num_steps = event.progress.step, event.progress.num_steps
            self.eta_s = event.progress.eta_ms / 1000
            if event.progress.HasField("preview"):
                self.preview = event.progress.preview.data

    def begin(self, number: int) -> None:
        self.number, self.step = number, 0

    def skip(self) -> None:
        """Stop the current round."""
        self.was_skipped = True
        if self._round is not None:
            self._round.cancel()

    def interrupt(self) -> None:
        """Stop the current round, and don't start another."""
        self.was_interrupted = True
        if self._round is not None:
            self._round.cancel()


@dataclass
class Session:
    """The state of one caller."""

    options: dict[str, Any] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)  # running jobs, the latest last

    @property
    def latest(self) -> Job | None:
        return self.jobs[-1] if self.jobs else None


class Sessions:
    """Sessions by caller name, as given by KeyGuard."""

    def __init__(self) -> None:
        self._by_caller: OrderedDict[str, Session] = OrderedDict()

    def of(self, caller: str) -> Session:
        session = self._by_caller.setdefault(caller, Session())
        self._by_caller.move_to_end(caller)
        if len(self._by_caller) > MAX_SESSIONS:
            self._by_caller.popitem(last=False)
        return session


def session_of(request: Request) -> Session:
    """The caller's session."""
    sessions: Sessions = request.app.state.a1111
    return sessions.of(request.state.caller)
