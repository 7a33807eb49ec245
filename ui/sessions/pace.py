"""Measures the time per picture, to predict waiting times for guests."""

from __future__ import annotations

import time
from collections import deque

KEPT = 12


class Pace:
    """Seconds between finished pictures while there is work."""

    def __init__(self) -> None:
        self._gaps: deque[float] = deque(maxlen=KEPT)
        self._last = 0.0

    def finished(self, begun_at: float) -> None:
        """Record a finished picture; `begun_at` is a `time.monotonic` time."""
        now = time.monotonic()
        self._gaps.append(now - max(self._last, begun_at))
        self._last = now

    @property
    def seconds(self) -> float | None:
        """The mean of the last pictures, or None before the first."""
        return sum(self._gaps) / len(self._gaps) if self._gaps else None
