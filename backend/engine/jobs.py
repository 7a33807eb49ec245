"""Jobs: requests as their callers see them, on the event loop.

A job keeps the latest event of each kind instead of a queue, and every image: a slow reader skips
steps but misses no image, and slows nobody down.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from backend.domain import Done, Event, FinishedImage, GeneratedImage, Progress, Queued
from backend.engine.request import Request
from backend.errors import BackendError, RequestConflict
from backend.params import GenerationParams

MAX_KEPT_BYTES = 64 * 2**20


@dataclass(eq=False, slots=True)
class Job:
    """One request and its latest events.

    `is_named`: the caller chose the request_id, and may call again for the result.
    """

    request: Request
    is_named: bool
    queued: Queued | None = None
    progress: Progress | None = None
    preview: GeneratedImage | None = None
    images: list[FinishedImage] = field(default_factory=list)
    done: Done | None = None
    error: BackendError | None = None
    callers: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_over(self) -> bool:
        """Whether it has completed or failed."""
        return self.is_whole or self.error is not None

    @property
    def is_whole(self) -> bool:
        """Whether every image and the final event have arrived."""
        return self.done is not None and len(self.images) == self.request.params.num_images

    @property
    def num_bytes(self) -> int:
        """Size of its encoded images."""
        return sum(len(finished.image.data) for finished in self.images)

    def post(self, event: Event) -> None:
        """Record an event. A preview that arrives late is shown with the latest step."""
        match event:
            case Queued():
                self.queued = event
            case Progress():
                self.preview = event.preview or self.preview
                if self.progress is None or event.step >= self.progress.step:
                    self.progress = replace(event, preview=None)
            case FinishedImage():
                self.images.append(event)
            case Done():
                self.done = event
        self._notify()

    def fail(self, error: BackendError) -> None:
        """End the job with `error`; no further events follow."""
        self.error = error
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def events(self) -> AsyncIterator[Event]:
        """Events from now on; images and the final event are sent to every reader.

        Raises:
            BackendError: the request failed.
        """
        reader = _Reader(self)
        while True:
            changed = self._changed
            for event in reader.unread():
                yield event
            if self.error is not None:
                raise self.error
            if changed is not self._changed:
                continue  # changed while the caller handled the events
            if self.done is not None and self.is_whole:
                yield self.done
                return
            await changed.wait()


@dataclass(slots=True)
class _Reader:
    """What one caller has already received of a job."""

    job: Job
    queued: Queued | None = None
    progress: Progress | None = None
    preview: GeneratedImage | None = None
    num_images: int = 0

    def unread(self) -> list[Event]:
        events: list[Event] = []
        job = self.job
        if job.queued is not self.queued and job.progress is None:
            self.queued = job.queued
            if job.queued is not None:
                events.append(job.queued)
        if job.progress is not None and (job.progress, job.preview) != (
            self.progress,
            self.preview,
        ):
            preview = job.preview if job.preview is not self.preview else None
            self.progress, self.preview = job.progress, job.preview
            events.append(replace(job.progress, preview=preview))
        events += job.images[self.num_images :]
        self.num_images = len(job.images)
        return events


class JobRegistry:
    """Jobs by client and request id, so that a retry joins instead of starting again."""

    def __init__(self, result_ttl_s: float, max_kept_bytes: int = MAX_KEPT_BYTES) -> None:
        self._result_ttl_s = result_ttl_s
        self._max_kept_bytes = max_kept_bytes
        self._kept: deque[Job] = deque()  # finished and without callers; oldest first
        self._jobs: dict[tuple[str, str], Job] = {}

    def find(self, client: str, request_id: str, params: GenerationParams) -> Job | None:
        """The running or completed job with this id, if any.

        Raises:
            RequestConflict: the id was used with other parameters.
        """
        job = self._jobs.get((client, request_id))
        if job is None or job.error is not None:
            return None
        if job.request.params != params:
            raise RequestConflict(
                "This request_id was used with other parameters: choose another one."
            )
        return job

    def has(self, client: str, request_id: str) -> bool:
        """Whether there is a job with this id, whatever its parameters."""
        return (client, request_id) in self._jobs

    def add(self, job: Job) -> None:
        self._jobs[_name(job)] = job

    @contextmanager
    def attend(self, job: Job, abort: Callable[[Job], None]) -> Iterator[None]:
        """Count a caller in and out; when the last one leaves, an unfinished job is aborted."""
        job.callers += 1
        try:
            yield
        finally:
            job.callers -= 1
            if job.callers == 0:
                self._left_alone(job, abort)

    def _left_alone(self, job: Job, abort: Callable[[Job], None]) -> None:
        if not job.is_over:
            abort(job)
        elif job.is_named and job.error is None:
            self._keep(job)
            return
        self._forget(job)

    def _keep(self, job: Job) -> None:
        if job in self._kept:
            return  # already kept from an earlier call
        self._kept.append(job)
        while sum(kept.num_bytes for kept in self._kept) > self._max_kept_bytes:
            self._forget(self._kept.popleft())
        asyncio.get_running_loop().call_later(self._result_ttl_s, self._expire, job)

    def _expire(self, job: Job) -> None:
        if job in self._kept:
            self._kept.remove(job)
            self._forget(job)

    def _forget(self, job: Job) -> None:
        if self._jobs.get(_name(job)) is job and job.callers == 0:
            del self._jobs[_name(job)]


def _name(job: Job) -> tuple[str, str]:
    return job.request.client, job.request.id
