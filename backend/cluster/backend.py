"""RayBackend: the front door's side of a cluster. It holds no model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import replace

import structlog

from backend.cluster.dispatcher import Dispatcher, wire_draft
from backend.cluster.handle import Launcher
from backend.cluster.summary import summary
from backend.config import Settings
from backend.domain import Event, GeneratedImage, ServiceStatus, State
from backend.draft import Draft
from backend.engine.jobs import Job, JobRegistry
from backend.engine.request import UNDRAWN, Request
from backend.engine.statistics import Statistics
from backend.errors import (
    BackendError,
    Draining,
    InvalidParams,
    ModelFailed,
    ModelLoading,
    UnknownModel,
)
from backend.params import GenerationParams, Limits, ModelInfo
from backend.picture_reader import PictureReader
from backend.resources import ResourceReader
from backend.upscale import Enlargement, Upscalers

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.1


class RayBackend:
    """A Backend whose requests are drawn by replicas; `launcher` starts and finds them."""

    def __init__(
        self,
        settings: Settings,
        launcher: Launcher,
        version: str,
        upscalers: Upscalers | None = None,
    ) -> None:
        self._settings = settings
        self._version = version
        self._started_s = time.perf_counter()
        self._is_draining = False
        self._failure = ""
        self._jobs = JobRegistry(settings.result_ttl_s)
        self._statistics = Statistics()
        self._dispatcher = Dispatcher(settings, launcher, self._statistics)
        self.fleet = self._dispatcher.fleet
        self._resources = ResourceReader()
        self._pictures = PictureReader(upscalers)

    # Beginning and end

    @property
    def is_ready(self) -> bool:
        return self._state is State.READY

    async def start(self) -> None:
        try:
            await self.fleet.start()
        except ModelFailed as error:
            self._failure = str(error)
            log.error("the cluster can't be used", reason=self._failure)
            return
        while self._state is State.STARTING:
            await asyncio.sleep(LOOK_EVERY_S)
        log.info("state", state=self._state.name, message=self._message)

    def drain(self) -> None:
        self._is_draining = True

    async def stop(self) -> None:
        """Let go of the cluster. Replicas on a cluster of its own live on for the next front."""
        self._dispatcher.fail_all()
        await self.fleet.stop()

    @property
    def _state(self) -> State:
        if self._is_draining:
            return State.DRAINING
        if self.fleet.ready:
            return State.READY
        return State.FAILED if self._failure or self.fleet.failure else State.STARTING

    @property
    def _message(self) -> str:
        ready, members = self.fleet.ready, self.fleet.members
        match self._state:
            case State.READY:
                names = ", ".join(model.name for model in self._models)
                return f"{len(ready)} of {len(members)} replicas serve {names}."
            case State.DRAINING:
                return "Finishing what runs, taking nothing new."
            case State.FAILED:
                return self._failure or self.fleet.failure
        told = [m.report.status.message for m in members if m.report is not None]
        return f"Starting {len(members)} replicas. {told[0] if told else ''}".strip()

    # Requests

    async def submit(
        self, draft: Draft, *, client: str, deadline_s: float | None
    ) -> AsyncGenerator[Event, None]:
        deadline_at_s = None if deadline_s is None else time.perf_counter() + deadline_s
        job = await self._join_or_start(draft, client, deadline_at_s)
        with self._jobs.attend(job, self._dispatcher.abort):
            async for event in job.events():
                yield event

    async def upscale(self, wanted: Enlargement) -> GeneratedImage:
        return await self._pictures.upscale(wanted, self._limits)

    async def _join_or_start(self, draft: Draft, client: str, deadline_at_s: float | None) -> Job:
        try:
            model = self._model(draft)
            if not self._jobs.has(client, draft.request_id):
                self._check_open(client)
            read = draft
            if draft.init_image or draft.mask:
                read = await self._pictures.read(draft, model, self._limits)
            params = self._check(read, model, client)
            return self._job(draft, params, client) or await self._admit(
                draft, params, client, deadline_at_s
            )
        except BackendError:
            self._statistics.refused()
            raise
        except asyncio.CancelledError:  # the caller left while a replica was asked
            self._statistics.left()
            raise

    def _model(self, draft: Draft) -> ModelInfo:
        """The model that the request is for, or the default one where none has its name."""
        models = self._models
        if not models or not self.fleet.ready:
            self._refuse_unready()
        return next((model for model in models if model.name == draft.model), models[0])

    def _refuse_unready(self) -> None:
        match self._state:
            case State.DRAINING:
                raise self._draining()
            case State.FAILED:
                raise ModelFailed(self._message)
        raise ModelLoading(f"The replicas are still starting. {self._message}")

    def _check(self, draft: Draft, model: ModelInfo, client: str) -> GenerationParams:
        """Everything that can be checked without the model itself."""
        params = draft.resolve(model, client)
        violations = [*draft.violations(params), *params.violations(self._limits, model)]
        if violations:
            raise InvalidParams(tuple(violations))
        if params.model != model.name:
            raise UnknownModel(params.model, tuple(one.name for one in self._models))
        return params

    def _check_open(self, client: str) -> None:
        if self._is_draining:
            raise self._draining()
        self._dispatcher.line.check_places(client, self.fleet.busy_ms)

    def _draining(self) -> Draining:
        return Draining("The service is shutting down.", self._settings.drain_s)

    def _job(self, draft: Draft, params: GenerationParams, client: str) -> Job | None:
        return self._jobs.find(client, draft.request_id, params)

    async def _admit(
        self, draft: Draft, params: GenerationParams, client: str, deadline_at_s: float | None
    ) -> Job:
        """A new job. What has to wait is examined before: a replica refuses the rest by itself."""
        self._check_open(client)
        request = Request(draft.request_id, client, params, time.perf_counter(), deadline_at_s)
        if not self._dispatcher.starts_at_once(request):
            request.num_chunks = await self._dispatcher.examine(_without_pictures(params))
            if (job := self._job(draft, params, client)) is not None:  # meanwhile
                return job
        job = Job(request, draft.is_named)
        self._dispatcher.submit(job, wire_draft(draft, params))
        self._jobs.add(job)
        return job

    # Status

    @property
    def _models(self) -> tuple[ModelInfo, ...]:
        """Of the first replica that is ready, else of any that has told them."""
        told = [member.models for member in (*self.fleet.ready, *self.fleet.members)]
        return next((models for models in told if models), ())

    @property
    def _limits(self) -> Limits:
        models = self._models
        return self._settings.limits(models[0].size_multiple if models else 8)

    def status(self) -> ServiceStatus:
        own = ServiceStatus(
            state=self._state,
            message=self._message,
            version=self._version,
            uptime_s=time.perf_counter() - self._started_s,
            models=self._models,
            queued=self._dispatcher.queued,
            running=self._dispatcher.running,
            capacity=self._settings.max_queue,
            limits=self._limits,
            counters=self._statistics.counters,
            latency=self._statistics.latency,
            resources=self._resources.read(),
            histograms=self._statistics.histograms,
            last_hour=self._statistics.last_hour,
            upscalers=self._pictures.upscalers.names,
        )
        return summary(own, self.fleet.members, self.fleet.gone)


def _without_pictures(params: GenerationParams) -> GenerationParams:
    """For a check that doesn't need them: they can be large."""
    return replace(
        params,
        init_image=None if params.init_image is None else UNDRAWN,
        mask=None if params.mask is None else UNDRAWN,
    )
