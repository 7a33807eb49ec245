"""What A1111's API keeps between requests, for each caller apart: options, and jobs under way.

The original has one of each for the whole process.
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

MAX_SESSIONS = 1000  # the callers longest unheard of are forgotten


@dataclass(eq=False)
class Job:
    """One txt2img: `count` rounds, one after the other, each a request of its own."""

    count: int
    num_steps: int
    begun_at: time.struct_time = field(default_factory=time.localtime)
    number: int = 0  # of the round, from 0
    step: int = 0
    eta_s: float = 0.0
    waits_behind: int | None = None  # None: it runs
    preview: bytes = b""
    was_skipped: bool = False
    was_interrupted: bool = False
    _round: asyncio.Task[Any] | None = None

    async def run(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Wait for a round's `work`; None where it was skipped or interrupted."""
        self._round = asyncio.create_task(work)
        try:
            await asyncio.wait({self._round})
            return None if self._round.cancelled() else self._round.result()
        finally:  # a caller that hangs up cancels us
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)

    def watch(self, event: pb.GenerateImageEvent) -> None:
        """Take note of how far the round is."""
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
        """End the round."""
        self.was_skipped = True
        if self._round is not None:
            self._round.cancel()

    def interrupt(self) -> None:
        """End the round, and begin no other."""
        self.was_interrupted = True
        if self._round is not None:
            self._round.cancel()


@dataclass
class Session:
    """One caller's."""

    options: dict[str, Any] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)  # under way, the latest last

    @property
    def latest(self) -> Job | None:
        return self.jobs[-1] if self.jobs else None


class Sessions:
    """By caller, as KeyGuard names them."""

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
