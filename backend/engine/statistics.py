"""Counters since the start, and latencies over the last `WINDOW_S` seconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from backend.domain import Counters, Histogram, Latency
from backend.engine.histograms import ROWS, Recorder
from backend.engine.jobs import Job
from backend.errors import (
    BackendError,
    DeadlineExceeded,
    Exhausted,
    InvalidParams,
    OutOfMemory,
)

WINDOW_S = 300.0
MAX_SAMPLES = 10_000


class _Sample(NamedTuple):
    at_s: float
    total_ms: float
    num_images: int


class Statistics:
    """Counts every request once as received, and once by how it ended."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._samples: deque[_Sample] = deque(maxlen=MAX_SAMPLES)
        self._num_completed = 0
        self._num_failed = 0
        self._num_images = 0
        self.received = 0
        self.cancelled = 0
        self.rejected = 0
        self._steps = Recorder("step_seconds", clock=clock)
        self._rows = Recorder("batch_rows", ROWS, clock=clock)
        self._waits = Recorder("wait_seconds", clock=clock)
        self._generations = Recorder("generation_seconds", clock=clock)
        self._recorders = (self._steps, self._rows, self._waits, self._generations)

    def stepped(self, seconds: float, rows: int) -> None:
        """Count one call of the UNet. The only method for any thread."""
        self._steps.observe(seconds)
        self._rows.observe(rows)

    def refused(self) -> None:
        """Count a request that was refused before it became a job."""
        self.received += 1
        self.rejected += 1

    def left(self) -> None:
        """Count a request whose caller left before it became a job."""
        self.received += 1
        self.cancelled += 1

    def failed(self, error: BackendError) -> None:
        """Count a job that the queue or a replica refused, or that failed."""
        is_refused = isinstance(error, Exhausted | DeadlineExceeded | InvalidParams)
        if is_refused and not isinstance(error, OutOfMemory):
            self.rejected += 1
        else:
            self._num_failed += 1

    def completed(self, job: Job) -> None:
        """Count a job that has all its images."""
        self._num_completed += 1
        self._num_images += len(job.images)
        if job.done is not None:
            total_ms = job.done.timings.total_ms
            self._waits.observe(job.done.timings.queued_ms / 1000)
            self._generations.observe(total_ms / 1000)
            self._samples.append(_Sample(self._clock(), total_ms, len(job.images)))

    @property
    def counters(self) -> Counters:
        return Counters(
            received=self.received,
            completed=self._num_completed,
            failed=self._num_failed,
            cancelled=self.cancelled,
            rejected=self.rejected,
            images=self._num_images,
        )

    @property
    def histograms(self) -> tuple[Histogram, ...]:
        """Since the start: steps and their rows, and of completed jobs wait and whole time."""
        return tuple(recorder.since_start() for recorder in self._recorders)

    @property
    def last_hour(self) -> tuple[Histogram, ...]:
        """The same, of the last hour."""
        return tuple(recorder.last_hour() for recorder in self._recorders)

    @property
    def latency(self) -> Latency:
        """Percentiles over the window, by nearest rank; zeros if nothing finished in it."""
        now_s = self._clock()
        while self._samples and self._samples[0].at_s < now_s - WINDOW_S:
            self._samples.popleft()
        if not self._samples:
            return Latency()
        totals = sorted(sample.total_ms for sample in self._samples)
        first = self._samples[0]
        span_s = max(now_s - first.at_s, first.total_ms / 1000)
        num_images = sum(sample.num_images for sample in self._samples)
        return Latency(
            p50_ms=_percentile(totals, 0.50),
            p95_ms=_percentile(totals, 0.95),
            p99_ms=_percentile(totals, 0.99),
            images_per_minute=60 * num_images / max(span_s, 1e-3),
        )


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
