"""LocalBackend: one model in this process, from loading to draining."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace

import structlog

from backend.config import Settings
from backend.domain import Event, GeneratedImage, ServiceStatus, State
from backend.draft import Draft
from backend.engine.cost import CostModel
from backend.engine.jobs import Job, JobRegistry
from backend.engine.loading import Load, Loaded, load_on_thread
from backend.engine.request import Request
from backend.engine.scheduler import Scheduler
from backend.engine.statistics import Statistics
from backend.engine.thread import AsyncEngine
from backend.engine.unfinished_jobs import Counts
from backend.engine.watchdog import EXIT_STUCK, follow
from backend.errors import (
    BackendError,
    DeviceLost,
    Draining,
    InvalidParams,
    ModelFailed,
    ModelLoading,
    QueueFull,
    Stuck,
    UnknownModel,
)
from backend.params import GenerationParams, ModelInfo
from backend.picture_reader import PictureReader
from backend.resources import ResourceReader
from backend.upscale import Enlargement, Upscalers

log = structlog.get_logger(__name__)


class LocalBackend:
    """The Backend of a single machine. All methods are called on the event loop.

    After `idle_unload_s` without requests the model is unloaded; the state stays READY, and the
    next request waits while it loads again.
    """

    def __init__(
        self,
        settings: Settings,
        load: Load,
        version: str,
        on_device_lost: Callable[[], None] = lambda: None,
        upscalers: Upscalers | None = None,
    ) -> None:
        self._on_device_lost = on_device_lost
        self._settings = settings
        self._load = load
        self._version = version
        self._started_s = time.perf_counter()
        self._state = State.STARTING
        self._message = "Starting."
        self._jobs = JobRegistry(settings.result_ttl_s)
        self._statistics = Statistics()
        self._resources = ResourceReader()
        self._info: ModelInfo | None = None
        self._loaded: Loaded | None = None
        self._engine: AsyncEngine | None = None
        self._used_s = 0.0
        self._moving = asyncio.Lock()  # held while the model is being unloaded or loaded
        self._waking: asyncio.Task[None] | None = None
        self._watching: list[asyncio.Task[None]] = []
        self._limits = settings.limits(size_multiple=8)
        self._pictures = PictureReader(upscalers)

    @property
    def is_ready(self) -> bool:
        """Whether a new request would be accepted now."""
        alive = self._engine is None or self._engine.is_alive
        return self._state is State.READY and alive

    async def start(self) -> None:
        """Load the model; returns once the state is READY or FAILED."""
        try:
            loaded = await load_on_thread(self._load, self._say)
        except DeviceLost as error:
            self._lose_device(str(error))
        except BackendError as error:
            self._become(State.FAILED, str(error))
        except Exception:
            log.exception("model failed to load")
            self._become(State.FAILED, "The model failed to load; the log says why.")
        else:
            self._serve(loaded)

    def _serve(self, loaded: Loaded) -> None:
        settings = self._settings
        self._loaded, self._info = loaded, loaded.model.info
        self._limits = settings.limits(self._info.size_multiple)
        self._resources.show_only(loaded.gpus)
        scheduler = Scheduler(loaded.cost, settings.max_queue, settings.max_queue_per_client)
        self._engine = AsyncEngine(
            loaded.model,
            scheduler,
            loaded.cost,
            self._statistics,
            self._version,
            self._broke,
            self._lose_device,
        )
        threading.Thread(target=loaded.calibrate, args=(self._engine,), name="calibration").start()
        if self._state is not State.DRAINING:
            note = f", {self._info.note}" if self._info.note else ""
            self._become(State.READY, f"Serving {self._info.name}{note}.")
        watching = follow(self._engine.watchdog, self._stuck, self._recovered)
        self._watching = [asyncio.create_task(watching)]
        if settings.idle_unload_s:
            self._used_s = time.perf_counter()
            self._watching.append(asyncio.create_task(self._unload_when_idle()))

    def _broke(self) -> None:
        self._become(State.FAILED, "The engine broke; the log says why. Restart the service.")

    def _stuck(self, complaint: str) -> None:
        engine, exit_s = self._engine, self._settings.stuck_exit_s
        if self._state is State.READY and engine is not None:
            log.error("stuck", complaint=complaint, stack=engine.stack)
            self._become(State.STUCK, complaint)
        elif self._state is State.STUCK:
            self._message = complaint
        if engine is not None and 0 < exit_s < engine.watchdog.overdue_s:
            log.critical("exiting, for a supervisor to start anew", complaint=complaint)
            os._exit(EXIT_STUCK)

    def _recovered(self) -> None:
        if self._state is State.STUCK and self._info is not None:
            self._become(State.READY, f"Serving {self._info.name}.")

    def _lose_device(self, reason: str) -> None:
        self._become(State.FAILED, f"The device failed: {reason}. A new process has to be started.")
        self._on_device_lost()

    def drain(self) -> None:
        """Refuse new requests from now on; queued and running ones are finished."""
        self._become(State.DRAINING, "Finishing what runs, taking nothing new.")

    async def stop(self) -> None:
        """End the engine's thread and save the measured costs."""
        for task in (*self._watching, self._waking):
            if task is not None:
                task.cancel()
        async with self._moving:
            await self._unload()

    def _say(self, message: str) -> None:
        if self._engine is None and self._state in (State.STARTING, State.READY):
            self._message = message
            log.info("loading", message=message)

    def _become(self, state: State, message: str) -> None:
        self._state, self._message = state, message
        log.info("state", state=state.name, message=message)

    # Unloading when idle

    async def _unload_when_idle(self) -> None:
        while (left_s := self._used_s + self._settings.idle_unload_s - time.perf_counter()) > 0:
            await asyncio.sleep(left_s)
            if self._counts != Counts(0, 0):
                self._used_s = time.perf_counter()
        async with self._moving:
            await self._unload()
            idle = f"{self._settings.idle_unload_s:g} s without a request"
            self._say(f"Unloaded after {idle}; the next one loads it again.")

    async def _unload(self) -> None:
        engine, loaded = self._engine, self._loaded
        self._engine = self._loaded = None
        if engine is None or loaded is None:
            return
        if not await engine.stop():
            return  # stuck: its thread still holds the model
        await asyncio.to_thread(loaded.keep_costs)
        release = loaded.release
        del engine, loaded
        await asyncio.to_thread(release)

    async def _wake(self) -> None:
        """Load the model again if it was unloaded; concurrent callers share one load."""
        self._used_s = time.perf_counter()
        if self._state is not State.READY or self._engine is not None:
            return
        if self._waking is None or self._waking.done():
            self._waking = asyncio.create_task(self._load_again())
        await asyncio.shield(self._waking)

    async def _load_again(self) -> None:
        async with self._moving:
            await self.start()

    # Requests

    async def submit(
        self, draft: Draft, *, client: str, deadline_s: float | None
    ) -> AsyncGenerator[Event, None]:
        deadline_at_s = None if deadline_s is None else time.perf_counter() + deadline_s
        await self._wake()
        draft = await self._read_pictures(draft, client)
        await self._get_ready(draft, client)
        job = self._join_or_start(draft, client, deadline_at_s)
        with self._jobs.attend(job, self._abort):
            async for event in job.events():
                yield event
        self._used_s = time.perf_counter()

    async def upscale(self, wanted: Enlargement) -> GeneratedImage:
        return await self._pictures.upscale(wanted, self._limits)

    async def _read_pictures(self, draft: Draft, client: str) -> Draft:
        """`draft` with its initial picture and mask decoded, on another thread."""
        engine, info = self._engine, self._info
        if engine is None or info is None or not (draft.init_image or draft.mask):
            return draft
        if not self._jobs.has(client, draft.request_id):
            try:
                self._check_open(engine)
            except BackendError:
                self._statistics.refused()
                raise
        return await self._pictures.read(draft, info, self._limits)

    async def _get_ready(self, draft: Draft, client: str) -> None:
        """Have adapters merged before the request queues: others go on meanwhile."""
        if not draft.resolve_loras()[1]:
            return
        try:
            engine, params = self._check(draft, client)
            if self._jobs.find(client, draft.request_id, params) is not None:
                return
            self._check_open(engine)
            await asyncio.to_thread(engine.get_ready, params)
        except BackendError:
            self._statistics.refused()
            raise

    def _join_or_start(self, draft: Draft, client: str, deadline_at_s: float | None) -> Job:
        try:
            engine, params = self._check(draft, client)
            job = self._jobs.find(client, draft.request_id, params)
            if job is None:
                self._check_open(engine)
        except BackendError:
            self._statistics.refused()
            raise
        return job or self._start(engine, draft, client, params, deadline_at_s)

    def _check(self, draft: Draft, client: str) -> tuple[AsyncEngine, GenerationParams]:
        if self._state is State.FAILED:
            raise ModelFailed(self._message)
        if self._state is State.STUCK:
            raise Stuck(self._message)
        if self._loaded is None or self._engine is None:
            if self._state is State.DRAINING:
                raise self._draining()
            raise ModelLoading(f"The model is still loading. {self._message}")
        model = self._loaded.model
        params = draft.resolve(model.info, client)
        violations = [*draft.violations(params), *params.violations(self._limits, model.info)]
        if not {violation.field for violation in violations} & {"scheduler", "num_inference_steps"}:
            violations += model.check(params)
        if violations:
            raise InvalidParams(tuple(violations))
        if params.model != model.info.name:
            raise UnknownModel(params.model, (model.info.name,))
        return self._engine, params

    def _check_open(self, engine: AsyncEngine) -> None:
        """Refuse early what the engine would refuse anyway: it reads its inbox between steps."""
        if self._state is State.DRAINING:
            raise self._draining()
        if engine.counts.queued >= self._settings.max_queue:
            text = f"All {self._settings.max_queue} places in the queue are taken."
            raise QueueFull(text, engine.next_end_s)

    def _draining(self) -> Draining:
        return Draining("The service is shutting down.", self._settings.drain_s)

    def _start(
        self,
        engine: AsyncEngine,
        draft: Draft,
        client: str,
        params: GenerationParams,
        deadline_at_s: float | None,
    ) -> Job:
        request = Request(
            draft.request_id,
            client,
            params,
            time.perf_counter(),
            deadline_at_s,
            engine.num_chunks(params),
        )
        job = Job(request, draft.is_named)
        self._jobs.add(job)
        engine.submit(job)
        return job

    # For a front that hands requests on to this engine

    @property
    def costs(self) -> Mapping[str, CostModel]:
        """What the loaded model costs, by its name."""
        return {} if self._loaded is None else {self._loaded.model.info.name: self._loaded.cost}

    def examine(self, params: GenerationParams) -> int:
        """Number of chunks of the prompts.

        Raises:
            InvalidParams: the model can't draw this.
            ModelLoading: it is not loaded.
        """
        if self._loaded is None:
            raise ModelLoading(f"The model is still loading. {self._message}")
        if violations := self._loaded.model.check(params):
            raise InvalidParams(tuple(violations))
        return self._loaded.model.num_chunks(params)

    def _abort(self, job: Job) -> None:
        if self._engine is not None:
            self._engine.abort(job)

    # Status

    @property
    def _counts(self) -> Counts:
        return self._engine.counts if self._engine is not None else Counts(0, 0)

    @property
    def _models(self) -> tuple[ModelInfo, ...]:
        if self._info is None:
            return ()
        info = self._info if self._loaded is None else self._loaded.model.info
        return (replace(info, loaded=self._engine is not None),)

    def status(self) -> ServiceStatus:
        counts = self._counts
        return ServiceStatus(
            state=self._state,
            message=self._message,
            version=self._version,
            uptime_s=time.perf_counter() - self._started_s,
            models=self._models,
            queued=counts.queued,
            running=counts.running,
            capacity=self._settings.max_queue,
            limits=self._limits,
            counters=self._statistics.counters,
            latency=self._statistics.latency,
            resources=self._resources.read(),
            histograms=self._statistics.histograms,
            last_hour=self._statistics.last_hour,
            upscalers=self._pictures.upscalers.names,
        )
