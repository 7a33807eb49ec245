"""How long the model's calls took: on the host's clock, or on its device's, which lags behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from backend.engine.protocols import Lap

Record = Callable[[float, bool], None]
"""Takes milliseconds, and whether they are typical of such a call."""


class HostLap:
    """A `Lap` of a device that is through when a call returns."""

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
    """Laps in the order in which the device goes through them."""

    def __init__(self) -> None:
        self._open: deque[_Open] = deque()

    def stop(self, lap: Lap, record: Record) -> None:
        """End `lap`; `record` is called with its time, now or at a later `settle`."""
        lap.stop()
        self._open.append(_Open(lap, record))
        self.settle()

    def settle(self) -> None:
        """Record what the device has come through."""
        while self._open:
            lap, record = self._open[0]
            took_ms = lap.ms()
            if took_ms is None:
                return
            self._open.popleft()
            record(took_ms, lap.is_typical)
