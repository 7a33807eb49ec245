"""Detects a stuck engine thread (hanging driver or compiler, heavy swapping)."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import structlog

log = structlog.get_logger(__name__)

PATIENCE = 20.0  # work is stuck after this many times its predicted duration
LEAST_S = 10.0  # lower bound of that limit: short stalls happen on any machine
UNMEASURED_S = 300.0  # limit for unmeasured work: it may have to be compiled
LOOK_EVERY_S = 1.0
EXIT_STUCK = 70


class Work(NamedTuple):
    """What the engine's thread is doing; `expected_ms` is None if it was never measured."""

    name: str
    since_s: float
    expected_ms: float | None

    @property
    def bound_s(self) -> float:
        """Seconds after which it counts as stuck."""
        if self.expected_ms is None:
            return UNMEASURED_S
        return max(LEAST_S, PATIENCE * self.expected_ms / 1000)


class Watchdog:
    """Written by the engine's thread (`watch`), read by the event loop."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._work: Work | None = None

    @contextmanager
    def watch(self, name: str, expected_ms: float | None) -> Iterator[None]:
        """Wrap one piece of work, on the engine's thread."""
        self._work = Work(name, self._clock(), expected_ms)
        try:
            yield
        finally:
            self._work = None

    @property
    def overdue_s(self) -> float:
        """Seconds past the limit of the current work; 0 if it is not stuck."""
        work = self._work
        return 0.0 if work is None else max(0.0, self._clock() - work.since_s - work.bound_s)

    @property
    def complaint(self) -> str:
        """One sentence that names the stuck work and for how long it has run."""
        work = self._work
        if work is None:
            return "Nothing is stuck."
        took = f"{work.name} has been running for {self._clock() - work.since_s:.0f} s"
        if work.expected_ms is None:
            return f"{took}."
        return f"{took}; about {work.expected_ms / 1000:.2g} s were expected."


async def follow(
    watchdog: Watchdog, on_stuck: Callable[[str], None], on_recovered: Callable[[], None]
) -> None:
    """Poll until cancelled; `on_stuck` is called on every poll while stuck."""
    was_stuck = False
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        is_stuck = watchdog.overdue_s > 0
        if is_stuck:
            on_stuck(watchdog.complaint)
        elif was_stuck:
            on_recovered()
        was_stuck = is_stuck


def stack_of(thread_id: int | None) -> str:
    """The current stack trace of a thread."""
    frame = sys._current_frames().get(thread_id or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else "the thread has ended"
