"""The jobs that the engine has not finished yet, on the event loop."""

from __future__ import annotations

from typing import NamedTuple

from backend.domain import Event
from backend.engine.jobs import Job
from backend.engine.request import Request
from backend.engine.statistics import Statistics
from backend.errors import BackendError, GenerationFailed


class Counts(NamedTuple):
    """Number of requests waiting, and of those started."""

    queued: int
    running: int


class UnfinishedJobs:
    """Passes events on to jobs, and counts each job when it comes and when it ends."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._jobs: dict[Request, Job] = {}

    @property
    def counts(self) -> Counts:
        running = sum(request.started_at_s is not None for request in self._jobs)
        return Counts(len(self._jobs) - running, running)

    @property
    def next_end_s(self) -> float:
        """Predicted seconds until the first running job ends, at least 0.1."""
        etas_ms = [job.progress.eta_ms for job in self._jobs.values() if job.progress is not None]
        return max(0.1, min(etas_ms, default=1000.0) / 1000)

    def add(self, job: Job) -> None:
        self._jobs[job.request] = job
        self._statistics.received += 1

    def cancel(self, job: Job) -> bool:
        """Drop a job. Returns False if it had already ended."""
        if self._jobs.pop(job.request, None) is None:
            return False
        self._statistics.cancelled += 1
        return True

    def deliver(self, request: Request, event: Event) -> None:
        job = self._jobs.get(request)
        if job is None:
            return
        job.post(event)
        if job.is_over:
            del self._jobs[request]
            self._statistics.completed(job)

    def fail(self, request: Request, error: BackendError) -> None:
        job = self._jobs.pop(request, None)
        if job is not None:
            self._statistics.failed(error)
            job.fail(error)

    def fail_all(self, reason: str) -> None:
        for request in [*self._jobs]:
            self.fail(request, GenerationFailed(reason))
