"""LocalBackend: one model in this process, from loading to draining."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import NamedTuple, Protocol

import structlog

from backend.config import Settings
from backend.domain import (
    Draft,
    Event,
    GenerationParams,
    ServiceStatus,
    State,
)
from backend.engine.async_engine import AsyncEngine, Counts
from backend.engine.cost import CostModel
from backend.engine.jobs import Job, JobRegistry
from backend.engine.protocols import AnyModel
from backend.engine.request import Request
from backend.engine.scheduler import Scheduler
from backend.engine.statistics import Statistics
from backend.errors import (
    BackendError,
    Draining,
    InvalidParams,
    ModelFailed,
    ModelLoading,
    QueueFull,
    UnknownModel,
    Violation,
)
from backend.resources import ResourceReader

log = structlog.get_logger(__name__)

OnProgress = Callable[[str], None]


class Loaded(NamedTuple):
    """A model that is ready to serve, and what is known of its costs; `keep_costs` stores that."""

    model: AnyModel
    cost: CostModel
    keep_costs: Callable[[], None] = lambda: None


class Load(Protocol):
    """Loads, warms up and calibrates the model; slow, runs on a thread of its own.

    Raises ModelFailed with one clear sentence where there is no hope.
    """

    def __call__(self, on_progress: OnProgress) -> Loaded: ...


class LocalBackend:
    """The Backend of a single machine. Lives on the event loop."""

    def __init__(
        self,
        settings: Settings,
        load: Load,
        version: str,
    ) -> None:
        self._settings = settings
        self._load = load
        self._version = version
        self._started_s = time.monotonic()
        self._state = State.STARTING
        self._message = "Starting."
        self._jobs = JobRegistry(settings.result_ttl_s)
        self._statistics = Statistics()
        self._resources = ResourceReader()
        self._model: AnyModel | None = None
        self._engine: AsyncEngine | None = None
        self._keep_costs: Callable[[], None] = lambda: None
        self._limits = settings.limits(size_multiple=8)

    @property
    def is_ready(self) -> bool:
        """Whether a request would be taken now."""
        alive = self._engine is not None and self._engine.is_alive
        return self._state is State.READY and alive

    async def start(self) -> None:
        """Load the model; returns once the state is READY or FAILED."""
        try:
            loaded = await self._load_on_thread()
        except BackendError as error:
            self._become(State.FAILED, str(error))
        except Exception:
            log.exception("model failed to load")
            self._become(State.FAILED, "The model failed to load; the log says why.")
        else:
            self._serve(loaded)

    async def _load_on_thread(self) -> Loaded:
        """On a daemon thread, so that a stop in the middle of a download need not wait for it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Loaded] = loop.create_future()

        def settle(loaded: Loaded | None, error: Exception | None) -> None:
            if future.cancelled():
                return
            if loaded is not None:
                future.set_result(loaded)
            elif error is not None:
                future.set_exception(error)

        def call(function: Callable[..., None], *args: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(function, *args)

        def run() -> None:
            try:
                loaded = self._load(lambda message: call(self._say, message))
            except Exception as error:
                call(settle, None, error)
            else:
                call(settle, loaded, None)

        threading.Thread(target=run, name="loader", daemon=True).start()
        return await future

    def _serve(self, loaded: Loaded) -> None:
        settings = self._settings
        self._model = loaded.model
        self._keep_costs = loaded.keep_costs
        self._limits = settings.limits(loaded.model.info.size_multiple)
        scheduler = Scheduler(loaded.cost, settings.max_queue, settings.max_queue_per_client)
        self._engine = AsyncEngine(
            loaded.model, scheduler, loaded.cost, self._statistics, self._version, self._broke
        )
        if self._state is State.STARTING:
            self._become(State.READY, f"Serving {loaded.model.info.name}.")

    def _broke(self) -> None:
        self._become(State.FAILED, "The engine broke; the log says why. Restart the service.")

    def drain(self) -> None:
        """Take nothing new from now on; what is queued or running is finished."""
        self._become(State.DRAINING, "Finishing what runs, taking nothing new.")

    async def stop(self) -> None:
        """End the engine's thread, and keep what it has learned of the model's costs."""
        if self._engine is not None:
            await self._engine.stop()
            await asyncio.to_thread(self._keep_costs)

    def _say(self, message: str) -> None:
        if self._state is State.STARTING:
            self._message = message
            log.info("loading", message=message)

    def _become(self, state: State, message: str) -> None:
        self._state, self._message = state, message
        log.info("state", state=state.name, message=message)

    # Requests

    async def submit(
        self, draft: Draft, *, client: str, deadline_s: float | None
    ) -> AsyncGenerator[Event, None]:
        job = self._join_or_start(draft, client, deadline_s)
        with self._jobs.attend(job, self._abort):
            async for event in job.events():
                yield event

    def _join_or_start(self, draft: Draft, client: str, deadline_s: float | None) -> Job:
        try:
            engine, params = self._check(draft, client)
            job = self._jobs.find(client, draft.request_id, params)
            if job is None:
                self._check_open(engine)
        except BackendError:
            self._statistics.refused()
            raise
        return job or self._start(engine, draft, client, params, deadline_s)

    def _check(self, draft: Draft, client: str) -> tuple[AsyncEngine, GenerationParams]:
        if self._state is State.FAILED:
            raise ModelFailed(self._message)
        if self._model is None or self._engine is None:
            if self._state is State.DRAINING:
                raise self._draining()
            raise ModelLoading(f"The model is still loading. {self._message}")
        params = draft.resolve(self._model.info, client)
        violations = [*draft.violations(params), *params.violations(self._limits, self._model.info)]
        violations += _impossible(self._model, params, violations)
        if violations:
            raise InvalidParams(tuple(violations))
        if params.model != self._model.info.name:
            raise UnknownModel(params.model, (self._model.info.name,))
        return self._engine, params

    def _check_open(self, engine: AsyncEngine) -> None:
        """Refuse at once what is sure to be refused: the engine looks only between two steps."""
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
        deadline_s: float | None,
    ) -> Job:
        now_s = time.monotonic()
        deadline_at_s = None if deadline_s is None else now_s + deadline_s
        request = Request(draft.request_id, client, params, now_s, deadline_at_s)
        job = Job(request, draft.is_named)
        self._jobs.add(job)
        engine.submit(job)
        return job

    def _abort(self, job: Job) -> None:
        if self._engine is not None:
            self._engine.abort(job)

    # Status

    def status(self) -> ServiceStatus:
        counts = self._engine.counts if self._engine is not None else Counts(0, 0)
        return ServiceStatus(
            state=self._state,
            message=self._message,
            version=self._version,
            uptime_s=time.monotonic() - self._started_s,
            models=(self._model.info,) if self._model is not None else (),
            queued=counts.queued,
            running=counts.running,
            capacity=self._settings.max_queue,
            limits=self._limits,
            counters=self._statistics.counters,
            latency=self._statistics.latency,
            resources=self._resources.read(),
        )


def _impossible(
    model: AnyModel, params: GenerationParams, known: Sequence[Violation]
) -> tuple[Violation, ...]:
    """What the model itself can't do; not asked about a scheduler or steps already refused."""
    fields = {violation.field for violation in known}
    if fields & {"scheduler", "num_inference_steps"}:
        return ()
    try:
        model.check(params)
    except InvalidParams as error:
        return tuple(violation for violation in error.violations if violation.field not in fields)
    return ()
