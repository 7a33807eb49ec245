"""The registry of jobs, shared by the whole process, so that no page owns a generation.

Worker threads read the streams and save the pictures; pages only look at the jobs. A reload, a
second tab or a closed browser does not affect them.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

import client
from ui.failures import Failure, explain, unexpected
from ui.job import Job, Phase, RetryPolicy, Unsaved
from ui.job_request import stream_of
from ui.recipe import Recipe
from ui.rescue import reason, rescue
from ui.start import Start
from ui.storage.gallery import Gallery
from ui.storage.journal import INTERRUPTED, Journal

LOG = logging.getLogger("inkling.jobs")

DOUBLE_CLICK_S = 1.0
KEEP_FINISHED_S = 600.0
CLOSE_S = 3.0
MAX_UNSAVED_BYTES = 256 * 2**20


class TooManyJobs(Exception):
    """No more jobs are accepted at the moment; the message says why."""


class Jobs:
    """All jobs of this process. Thread-safe."""

    def __init__(
        self,
        service: client.Text2ImageClient,
        gallery: Gallery,
        journal: Journal,
        max_per_owner: int,
    ) -> None:
        self._service = service
        self._gallery = gallery
        self._journal = journal
        self._max_per_owner = max_per_owner
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._closing = False
        self._saving = threading.Lock()
        self._slots: dict[str, threading.Semaphore] = defaultdict(
            lambda: threading.Semaphore(max_per_owner)
        )

    @property
    def max_per_owner(self) -> int:
        return self._max_per_owner

    def submit(self, owner: str, recipe: Recipe, start: Start | None = None) -> Job:
        """Start a job, or return the identical one that was just started (a double click).

        Raises:
            TooManyJobs: the owner already has the maximum of active jobs.
        """
        with self._lock:
            self._forget_old()
            self._check_memory()
            active = self._active(owner)
            for job in active:
                is_same = (job.recipe, job.start) == (recipe, start)
                if is_same and time.monotonic() - job.created < DOUBLE_CLICK_S:
                    return job
            if len(active) >= self._max_per_owner:
                raise TooManyJobs(f"{len(active)} pictures are already under way")
            job = self._add(Job(uuid.uuid4().hex, owner, recipe, start=start))
        self._start(job)
        return job

    def submit_batch(self, owner: str, plan: dict[str, Any], recipes: Sequence[Recipe]) -> str:
        """Start one job per recipe, a few at a time; returns the batch's id.

        Raises:
            TooManyJobs: too many unsaved pictures are in memory.
        """
        self._check_memory()
        batch_id = self._journal.add_batch(owner, plan)
        with self._lock:
            self._forget_old()
            jobs = [
                self._add(Job(uuid.uuid4().hex, owner, recipe, batch_id, cell))
                for cell, recipe in enumerate(recipes)
            ]
        for job in jobs:
            self._start(job)
        return batch_id

    def get(self, owner: str, job_id: str | None) -> Job | None:
        job = self._jobs.get(job_id or "")
        return job if job is not None and job.owner == owner else None

    def of(self, owner: str) -> list[Job]:
        """The owner's jobs that are not part of a batch, oldest first."""
        return [job for job in self._all(owner) if job.batch_id is None]

    def of_batch(self, owner: str, batch_id: str) -> dict[int, Job]:
        jobs = (job for job in self._all(owner) if job.batch_id == batch_id)
        return {job.cell: job for job in jobs if job.cell is not None}

    def active(self, owner: str) -> list[Job]:
        """The owner's active jobs including batches, oldest first."""
        return [job for job in self._all(owner) if job.is_active]

    def num_active(self) -> int:
        """Number of active jobs of all owners."""
        return sum(job.is_active for job in list(self._jobs.values()))

    def cancel_all(self, owner: str, batch_id: str) -> None:
        """Cancel the active jobs of a batch."""
        for job in self.of_batch(owner, batch_id).values():
            job.cancel()

    def retry_save(self, job: Job) -> None:
        """Try again to save the job's unsaved pictures."""
        with self._saving:
            unsaved, job.unsaved = job.unsaved, []
            for item in unsaved:
                self._save(job, item.image, item.recipe, item.picture_id)

    def retry_all_saves(self) -> None:
        """Try again for every job: there may be space now."""
        for job in list(self._jobs.values()):
            if job.unsaved and not job.is_active:
                self.retry_save(job)

    def forget(self, owner: str) -> None:
        for job in self._all(owner):
            job.cancel()
            self._jobs.pop(job.id, None)

    def close(self) -> None:
        """Stop all jobs at the end of the process; the journal records which were interrupted."""
        self._closing = True
        for job in list(self._jobs.values()):
            job.cancel()
        end = time.monotonic() + CLOSE_S
        for thread in list(self._threads):
            thread.join(max(0.0, end - time.monotonic()))
        self._note(self._journal.interrupt_own_jobs)
        self.retry_all_saves()
        rescue([item for job in list(self._jobs.values()) for item in job.unsaved])

    def _all(self, owner: str) -> list[Job]:
        return [job for job in list(self._jobs.values()) if job.owner == owner]

    def _active(self, owner: str) -> list[Job]:
        return [job for job in self.of(owner) if job.is_active]

    def _add(self, job: Job) -> Job:
        self._jobs[job.id] = job
        return job

    def _start(self, job: Job) -> None:
        name = f"job-{job.id[:8]}"
        thread = threading.Thread(target=self._run, args=(job,), name=name, daemon=True)
        self._threads.add(thread)
        thread.start()

    def _forget_old(self) -> None:
        now = time.monotonic()
        for job in list(self._jobs.values()):
            is_old = job.finished is not None and now - job.finished > KEEP_FINISHED_S
            if is_old and not job.unsaved:
                del self._jobs[job.id]

    def _check_memory(self) -> None:
        """Limit the unsaved pictures, which are held in memory."""
        unsaved = [item for job in list(self._jobs.values()) for item in job.unsaved]
        if sum(len(item.image.data) for item in unsaved) > MAX_UNSAVED_BYTES:
            raise TooManyJobs(f"{len(unsaved)} finished pictures wait for room on the disk")

    # Below: run on the worker thread of a job.

    def _run(self, job: Job) -> None:
        self._note(
            self._journal.open, job.id, job.owner, job.recipe.to_dict(), job.batch_id, job.cell
        )
        slots = self._slots[job.owner]
        while not slots.acquire(timeout=0.2):
            if job.is_cancelled():
                self._finish(job, Phase.CANCELLED)
                self._threads.discard(threading.current_thread())
                return
        try:
            self._finish(job, *self._work(job))
        finally:
            slots.release()
            self._threads.discard(threading.current_thread())

    def _work(self, job: Job) -> tuple[Phase, Failure | None]:
        """Generate, retrying temporary failures; returns the final phase."""
        retries = RetryPolicy()
        while not job.is_cancelled():
            try:
                self._generate(job)
                return Phase.DONE, None
            except client.Text2ImageError as error:
                if job.is_cancelled():
                    break
                delay = retries.delay_after(error, started=job.step > 0)
                if delay is None:
                    return Phase.FAILED, explain(error, job.recipe, job.step)
                loading = error.reason == "MODEL_LOADING"
                job.message = error.message if loading else ""
                job.enter(Phase.LOADING if loading else Phase.RETRYING)
                job.wait(delay)
            except Exception as error:
                LOG.exception("job %s failed", job.id)
                return Phase.FAILED, unexpected(error)
        return Phase.CANCELLED, None

    def _generate(self, job: Job) -> None:
        stream = stream_of(self._service, job)
        job.attach(stream)
        for event in stream:
            self._take(job, event)

    def _take(self, job: Job, event: client.Event) -> None:
        match event:
            case client.Queued(position, wait_ms, message):
                job.position, job.wait_ms, job.message = position, wait_ms, message
                job.enter(Phase.LOADING if message else Phase.QUEUED)
            case client.Progress(step, num_steps, eta_ms, preview):
                job.step, job.num_steps, job.eta_ms = step, num_steps, eta_ms
                if preview is not None:
                    job.preview, job.seed = preview.data, preview.seed
                job.enter(Phase.RUNNING)
            case client.FinishedImage(index, image):
                self._keep(job, index, image)
            case client.Done(info):
                job.warnings = info.warnings

    def _keep(self, job: Job, index: int, image: client.Image) -> None:
        if index == 0:
            job.seed = image.seed
        if image.nsfw_detected or not image.data:
            job.withheld += 1
            return
        made = replace(
            job.recipe,
            seed=image.seed,
            count=1,
            width=image.width,
            height=image.height,
            strength=job.start.strength if job.start else None,
        )
        self._save(job, image, made, uuid.uuid4().hex)

    def _save(self, job: Job, image: client.Image, recipe: Recipe, picture_id: str) -> None:
        try:
            picture = self._gallery.add(
                job.owner,
                image.data,
                recipe,
                picture_id=picture_id,
                job_id=job.id,
                batch_id=job.batch_id,
                duration_ms=round(job.elapsed_s * 1000),
            )
        except (OSError, SQLAlchemyError) as error:
            LOG.error("a picture of job %s could not be kept: %s", job.id, error)
            unsaved = Unsaved(picture_id, image, recipe, reason(error))
            job.unsaved = [*job.unsaved, unsaved]
        else:
            job.pictures = [*job.pictures, picture]

    def _finish(self, job: Job, phase: Phase, failure: Failure | None = None) -> None:
        job.failure = failure
        code, text = (failure.code, failure.technical) if failure else ("", "")
        # Journal first: whoever sees that the job has ended finds its end there.
        cut_off = self._closing and phase is Phase.CANCELLED
        state = INTERRUPTED if cut_off else phase.value
        self._note(self._journal.close, job.id, state, code, text)
        job.end(phase)

    def _note(self, write: Callable[..., object], *values: Any) -> None:
        """Write to the journal; a failure is only logged, so that no picture is lost."""
        try:
            write(*values)
        except SQLAlchemyError:
            LOG.exception("the journal could not be written")
