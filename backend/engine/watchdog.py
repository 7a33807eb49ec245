"""Notices that the engine's thread is stuck: in a driver, a compiler, memory that is swapped."""

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

PATIENCE = 20.0  # times what a piece of work is predicted to take
LEAST_S = 10.0  # however short that is: machines hold their breath now and then
UNMEASURED_S = 300.0  # what was never measured may have to be compiled
LOOK_EVERY_S = 1.0
EXIT_STUCK = 70


class Work(NamedTuple):
    """What the engine's thread is doing; `expected_ms` is None for what was never measured."""

    name: str
    since_s: float
    expected_ms: float | None

    @property
    def bound_s(self) -> float:
        """Seconds after which it is stuck."""
        if self.expected_ms is None:
            return UNMEASURED_S
        return max(LEAST_S, PATIENCE * self.expected_ms / 1000)


class Watchdog:
    """Told by the engine's thread what it does, and asked by the event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._work: Work | None = None

    @contextmanager
    def watch(self, name: str, expected_ms: float | None) -> Iterator[None]:
        """Around one piece of work, on the engine's thread."""
        self._work = Work(name, self._clock(), expected_ms)
        try:
            yield
        finally:
            self._work = None

    @property
    def overdue_s(self) -> float:
        """Seconds since the work should have been done at the latest; 0 while all is well."""
        work = self._work
        return 0.0 if work is None else max(0.0, self._clock() - work.since_s - work.bound_s)

    @property
    def complaint(self) -> str:
        """What is stuck, and for how long, as a sentence."""
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
    """Tell of each change, until cancelled. While stuck, the complaint is told again and again."""
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
    """Where a thread is now."""
    frame = sys._current_frames().get(thread_id or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else "the thread has ended"
