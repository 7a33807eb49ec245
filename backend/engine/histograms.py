"""Distributions of times and batch sizes: since the start, and over the last hour."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence

from backend.domain import Histogram

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
HOUR_S = 3600.0
MINUTE_S = 60.0


class _Counts:
    """How many values fell below each bound and not below the one before; the last has none."""

    def __init__(self, num_bounds: int) -> None:
        self.counts = [0] * (num_bounds + 1)
        self.sum = 0.0

    def add(self, bucket: int, value: float) -> None:
        self.counts[bucket] += 1
        self.sum += value


class Recorder:
    """One quantity, recorded from any thread. The last hour moves on by the minute."""

    def __init__(
        self,
        name: str,
        bounds: Sequence[float] = SECONDS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._name = name
        self._bounds = tuple(float(bound) for bound in bounds)
        self._clock = clock
        self._lock = threading.Lock()
        self._all = _Counts(len(self._bounds))
        self._minutes: deque[tuple[float, _Counts]] = deque()  # each with the time of its start

    def observe(self, value: float) -> None:
        """Count one value."""
        bucket = bisect_left(self._bounds, value)
        with self._lock:
            self._all.add(bucket, value)
            now_s = self._clock()
            if not self._minutes or now_s - self._minutes[-1][0] >= MINUTE_S:
                self._minutes.append((now_s, _Counts(len(self._bounds))))
                self._forget(now_s)
            self._minutes[-1][1].add(bucket, value)

    def since_start(self) -> Histogram:
        with self._lock:
            return self._histogram([self._all])

    def last_hour(self) -> Histogram:
        with self._lock:
            self._forget(self._clock())
            return self._histogram([counts for _, counts in self._minutes])

    def _forget(self, now_s: float) -> None:
        while self._minutes and now_s - self._minutes[0][0] > HOUR_S:
            self._minutes.popleft()

    def _histogram(self, parts: Sequence[_Counts]) -> Histogram:
        columns = zip(*(part.counts for part in parts), strict=True)
        counts = tuple(map(sum, columns)) or (0,) * (len(self._bounds) + 1)
        return Histogram(self._name, self._bounds, counts, sum(part.sum for part in parts))
