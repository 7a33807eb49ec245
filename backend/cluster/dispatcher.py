"""Hands requests to replicas, passes their events on, and tries again where a replica is lost."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from contextlib import aclosing
from dataclasses import replace

import structlog

from backend.cluster.fleet import Fleet
from backend.cluster.handle import Launcher, ReplicaLost
from backend.cluster.line import Line
from backend.cluster.member import Member
from backend.cluster.replica import Accepted, Failed, Item
from backend.config import Settings
from backend.domain import Done, FinishedImage, Queued
from backend.draft import Draft
from backend.engine.jobs import Job
from backend.engine.request import Request
from backend.engine.statistics import Statistics
from backend.errors import BackendError, GenerationFailed, ModelLoading
from backend.params import GenerationParams

log = structlog.get_logger(__name__)

PLACES_EVERY_S = 0.1
MAX_ATTEMPTS = 3  # a request that ends every replica it meets must not end them all


class Dispatcher:
    """Jobs from their admission to their end. All methods are called on the event loop."""

    def __init__(self, settings: Settings, launcher: Launcher, statistics: Statistics) -> None:
        self._timeout_s = settings.replica_timeout_s
        self._statistics = statistics
        self.line = Line(settings.max_queue, settings.max_queue_per_client, time.perf_counter)
        self.fleet = Fleet(settings, launcher, self._on_change, self._again, self._wait_s)
        self._jobs: dict[Request, Job] = {}
        self._drafts: dict[Job, Draft] = {}
        self._attempts: Counter[Job] = Counter()
        self._handed: dict[Job, asyncio.Task[None]] = {}
        self._places_timer: asyncio.TimerHandle | None = None
        self._places_told_s = 0.0

    @property
    def queued(self) -> int:
        return len(self.line)

    @property
    def running(self) -> int:
        return len(self._handed)

    def _wait_s(self) -> float:
        return self.line.wait_ms(self.fleet.busy_ms) / 1000 if len(self.line) else 0.0

    # From the backend

    def starts_at_once(self, request: Request) -> bool:
        """Whether a replica would get it now, which examines it then as well."""
        return not len(self.line) and self.fleet.best_for(request) is not None

    async def examine(self, params: GenerationParams) -> int:
        """The prompt's chunks, as a replica counts them.

        Raises:
            BackendError: the model can't draw this, or no replica answers.
        """
        while member := next(iter(sorted(self.fleet.ready, key=lambda m: len(m.work))), None):
            try:
                async with asyncio.timeout(self._timeout_s):
                    found = await member.handle.examine(params)
            except ReplicaLost as error:
                self.fleet.lose(member, str(error))
            except TimeoutError:
                self.fleet.lose(member, f"no answer for {self._timeout_s:g} s")
            else:
                if isinstance(found, BackendError):
                    raise found
                return found
        raise ModelLoading("No replica is ready.")

    def submit(self, job: Job, draft: Draft) -> None:
        """Queue a job; its events are posted to it as they occur.

        Raises:
            BackendError: the queue refused it.
        """
        self.line.add(job.request, self.fleet.busy_ms)
        self._statistics.received += 1
        self._jobs[job.request], self._drafts[job] = job, draft
        self._dispatch()

    def abort(self, job: Job) -> None:
        """Stop a job; a replica stops it before its next step. One that has ended is no error."""
        if self._drafts.pop(job, None) is None:
            return
        self._statistics.cancelled += 1
        self._forget(job)
        self._dispatch()

    def fail_all(self) -> None:
        """End every job, at the end of the service."""
        for job in [*self._drafts]:
            self._fail(job, GenerationFailed("the service has stopped"))

    # Handing over

    def _on_change(self) -> None:
        ready = self.fleet.ready
        if ready and ready[0].models:
            first = ready[0].models[0]
            self.line.cost.adopt(ready[0].cost(first.name))
            self.line.speed = self.fleet.speed(first.native_height, first.native_width, first.name)
        self._dispatch()

    def _dispatch(self) -> None:
        """Hand over what can start now, in the line's order."""
        for request in self.line if len(self.line) and self.fleet.has_room else ():
            if (member := self.fleet.best_for(request)) is not None:
                self._hand_over(self._jobs[request], member)
            if not self.fleet.has_room:
                break
        self._plan_places()

    def _plan_places(self) -> None:
        """Tell the places soon, but not after every event: the order is computed for all."""
        if self._places_timer is None and len(self.line):
            loop = asyncio.get_running_loop()
            pause_s = max(0.0, self._places_told_s + PLACES_EVERY_S - loop.time())
            self._places_timer = loop.call_later(pause_s, self._tell_places)

    def _tell_places(self) -> None:
        self._places_timer = None
        self._places_told_s = asyncio.get_running_loop().time()
        for request, place in self.line.places(self.fleet.busy_ms) if len(self.line) else ():
            job = self._jobs[request]
            if job.queued is None or job.queued.position != place.position:
                job.post(place)

    def _hand_over(self, job: Job, member: Member) -> None:
        request = job.request
        self.line.take(request)
        request.started_at_s = time.perf_counter()
        member.work[job] = member.cost(request.params.model).loaded_ms(request)
        member.idle_since_s = None
        self._attempts[job] += 1
        self._handed[job] = asyncio.create_task(self._run(job, member))

    async def _run(self, job: Job, member: Member) -> None:
        """Follow one job on one replica, to its end."""
        try:
            await self._follow(job, member)
        except ReplicaLost as error:
            self.fleet.lose(member, str(error))
        except TimeoutError:
            self.fleet.lose(member, f"a request was not accepted within {self._timeout_s:g} s")
        except Exception as error:
            log.error("generation failed", request_id=job.request.id, exc_info=error)
            self._fail(job, GenerationFailed(f"request {job.request.id} failed"))

    async def _follow(self, job: Job, member: Member) -> None:
        request, draft = job.request, self._drafts[job]
        deadline_s = request.deadline_at_s
        if deadline_s is not None:
            deadline_s -= time.perf_counter()
        items = member.handle.generate(self.fleet.front, draft, request.client, deadline_s)
        async with aclosing(items):
            async with asyncio.timeout(self._timeout_s):
                await anext(items)  # Accepted
            async for item in items:
                self._pass_on(job, member, item)
        if job in self._drafts:
            raise ReplicaLost("it ended a request's events before their end")

    def _pass_on(self, job: Job, member: Member, item: Item) -> None:
        match item:
            case Accepted():
                return
            case Queued():  # it has not refused the request; places are told for the whole line
                if job.queued is None:
                    job.post(Queued(0, member.busy_ms))
            case Failed(error):
                self._fail(job, error)
            case FinishedImage(index) if index in {image.index for image in job.images}:
                return  # drawn by a replica that was lost later
            case Done():
                job.post(self._completed(job, item))
            case _:
                job.post(item)
        if job.is_whole and self._drafts.pop(job, None) is not None:
            self._statistics.completed(job)
            self._forget(job)
        if len(self.line):
            self._dispatch()

    def _completed(self, job: Job, done: Done) -> Done:
        """Times count from the arrival here; the id is the caller's."""
        request = job.request
        assert request.started_at_s is not None
        waited_ms = (request.started_at_s - request.arrived_s) * 1000
        timings = replace(
            done.timings,
            queued_ms=waited_ms + done.timings.queued_ms,
            total_ms=(time.perf_counter() - request.arrived_s) * 1000,
        )
        return replace(done, request_id=request.id, params=request.params, timings=timings)

    # Ends

    def _again(self, jobs: list[Job]) -> None:
        """A replica is lost: its jobs go back to the line, with the same seed."""
        for job in jobs:
            if (task := self._handed.pop(job, None)) is not None:
                task.cancel()
            if job not in self._drafts:
                continue
            if self._attempts[job] >= MAX_ATTEMPTS:
                text = f"{MAX_ATTEMPTS} replicas were lost while drawing it"
                self._fail(job, GenerationFailed(text))
            else:
                log.warning("trying again on another replica", request_id=job.request.id)
                self.line.put_back(job.request)
        self._dispatch()

    def _fail(self, job: Job, error: BackendError) -> None:
        if self._drafts.pop(job, None) is not None:
            self._statistics.failed(error)
            self._forget(job)
            job.fail(error)

    def _forget(self, job: Job) -> None:
        self.line.remove(job.request)
        self._jobs.pop(job.request, None)
        self._attempts.pop(job, None)
        for member in self.fleet.members:
            member.work.pop(job, None)
        task = self._handed.pop(job, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()


def wire_draft(draft: Draft, params: GenerationParams) -> Draft:
    """The request for a replica: with its seed, and an id of its own for every replica."""
    return replace(draft, seed=params.seed, request_id=uuid.uuid4().hex, is_named=False)
