"""Times the model's calls on the host's clock, or on an asynchronous device's own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from backend.engine.protocols import Lap

Record = Callable[[float, bool], None]
"""Called with milliseconds, and whether they are typical (no one-off work such as compiling)."""


class HostLap:
    """A `Lap` for devices whose calls return only when the work is done."""

    is_typical = True

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started_s = clock()
        self._ms = 0.0

    def stop(self) -> None:
        self._ms = (self._clock() - self._started_s) * 1000

    def ms(self) -> float:
        return self._ms


class _Open(NamedTuple):
    lap: Lap
    record: Record


class Laps:
    """Stopped laps whose time is not known yet, in the device's order."""

    def __init__(self) -> None:
        self._open: deque[_Open] = deque()

    def stop(self, lap: Lap, record: Record) -> None:
        """End `lap`; `record` is called with its time, now or in a later `settle`."""
        lap.stop()
        self._open.append(_Open(lap, record))
        self.settle()

    def settle(self) -> None:
        """Record the laps that the device has finished."""
        while self._open:
            lap, record = self._open[0]
            took_ms = lap.ms()
            if took_ms is None:
                return
            self._open.popleft()
            record(took_ms, lap.is_typical)
