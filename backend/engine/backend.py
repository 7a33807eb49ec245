"""LocalBackend: the models of this process, from loading to draining."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager

import structlog

from backend.config import Settings
from backend.domain import Event, GeneratedImage, ServiceStatus, State
from backend.draft import Draft
from backend.engine.admission import Admission, Caller
from backend.engine.cost import CostModel
from backend.engine.jobs import JobRegistry
from backend.engine.loading import Load, Offer
from backend.engine.models import Models
from backend.engine.served_model import ServedModel, Shared
from backend.engine.service_state import ServiceState
from backend.engine.statistics import Statistics
from backend.engine.turns import Turns
from backend.errors import BackendError
from backend.params import GenerationParams
from backend.picture_reader import PictureReader
from backend.resources import ResourceReader
from backend.upscale import Enlargement, Upscalers

log = structlog.get_logger(__name__)


class LocalBackend:
    """The Backend of a single machine. All methods are called on the event loop.

    The first model is the default; it is loaded at the start, the others by their first request.
    After `idle_unload_s` without requests a model is unloaded; the state stays READY, and the
    next request waits while it loads again.
    """

    def __init__(
        self,
        settings: Settings,
        offers: Load | Sequence[Offer],
        version: str,
        on_device_lost: Callable[[], None] = lambda: None,
        upscalers: Upscalers | None = None,
        turns: Turns | None = None,
    ) -> None:
        """Nothing is loaded before `start`.

        Args:
            settings: limits, memory and the like.
            offers: the models, the default first; or how to load the only one.
            version: of the service.
            on_device_lost: called when only a new process can generate again.
            upscalers: methods of `upscale`; None: the built-in one.
            turns: taken by whatever else computes on the device, loading for one.
        """
        self._on_device_lost = on_device_lost
        self._settings = settings
        self._version = version
        self._started_s = time.perf_counter()
        self._jobs = JobRegistry(settings.result_ttl_s)
        self._statistics = Statistics()
        self._resources = ResourceReader()
        self._pictures = PictureReader(upscalers)
        self._unloading: asyncio.Task[None] | None = None
        shared = Shared(
            settings,
            version,
            self._statistics,
            turns or Turns(),
            self._lose_device,
            self._resources.show_only,
        )
        listed = offers if isinstance(offers, Sequence) else [Offer(offers)]
        models = [ServedModel(offer, shared) for offer in listed]
        self._models = Models(models)
        self._state = ServiceState(self._models, settings.drain_s)
        self._admission = Admission(settings, self._models, self._state, self._jobs, self._pictures)

    @property
    def is_ready(self) -> bool:
        """Whether a new request for the default model would be accepted now."""
        engine = self._models.default.engine
        return self._state.state is State.READY and (engine is None or engine.is_alive)

    async def start(self) -> None:
        """Load the default model; returns once the state is READY or FAILED."""
        if self._settings.idle_unload_s:
            unloading = self._models.unload_when_idle(self._settings.idle_unload_s)
            self._unloading = asyncio.create_task(unloading)
        await asyncio.wait([self._models.load(self._models.default)])

    def drain(self) -> None:
        """Refuse new requests from now on; queued and running ones are finished."""
        self._state.is_draining = True
        log.info("state", state=self._state.state.name, message=self._state.message)

    async def stop(self) -> None:
        """End the engines' threads and save the measured costs."""
        if self._unloading is not None:
            self._unloading.cancel()
        await self._models.stop()

    def _lose_device(self, reason: str) -> None:
        self._state.lost = f"The device failed: {reason}. A new process has to be started."
        log.critical("state", state=self._state.state.name, message=self._state.lost)
        self._on_device_lost()

    # Requests

    async def submit(
        self, draft: Draft, *, client: str, deadline_s: float | None
    ) -> AsyncGenerator[Event, None]:
        deadline_at_s = None if deadline_s is None else time.perf_counter() + deadline_s
        caller = Caller(client, deadline_at_s)
        with self._counting_refusals():
            model = self._admission.find(draft, caller)
            async with aclosing(self._admission.bring(model, draft, caller)) as waiting:
                async for queued in waiting:
                    yield queued
        with model.claim():
            with self._counting_refusals():
                engine, job = await self._admission.join_or_start(model, draft, caller)
            with self._jobs.attend(job, engine.abort):
                async for event in job.events():
                    yield event

    async def upscale(self, wanted: Enlargement) -> GeneratedImage:
        return await self._pictures.upscale(wanted, self._models.default.info.limits)

    @contextmanager
    def _counting_refusals(self) -> Iterator[None]:
        try:
            yield
        except BackendError:
            self._statistics.refused()
            raise

    # For a front that hands requests on to this engine

    @property
    def costs(self) -> Mapping[str, CostModel]:
        """What the loaded models cost, by their names."""
        return self._models.costs

    def examine(self, params: GenerationParams) -> int:
        """Number of chunks of the prompts.

        Raises:
            InvalidParams: the model can't draw this.
            ModelLoading: it is not loaded.
        """
        return self._admission.examine(params)

    # Status

    def status(self) -> ServiceStatus:
        counts = self._models.counts
        models = tuple(model.info for model in self._models.all)
        return ServiceStatus(
            state=self._state.state,
            message=self._state.message,
            version=self._version,
            uptime_s=time.perf_counter() - self._started_s,
            models=models if models[0].name else (),
            queued=counts.queued,
            running=counts.running,
            capacity=self._settings.max_queue,
            limits=models[0].limits,
            counters=self._statistics.counters,
            latency=self._statistics.latency,
            resources=self._resources.read(),
            histograms=self._statistics.histograms,
            last_hour=self._statistics.last_hour,
            upscalers=self._pictures.upscalers.names,
        )
