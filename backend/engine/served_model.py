"""One model of the backend: loaded, served by an engine of its own, and unloaded."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import structlog

from backend.config import Settings
from backend.engine.cost import CostModel
from backend.engine.loading import Loaded, Offer, load_on_thread
from backend.engine.protocols import AnyModel
from backend.engine.scheduler import Scheduler
from backend.engine.statistics import Statistics
from backend.engine.thread import AsyncEngine
from backend.engine.turns import Turns
from backend.engine.unfinished_jobs import Counts
from backend.engine.watchdog import EXIT_STUCK, follow
from backend.errors import BackendError, DeviceLost, ModelFailed
from backend.params import Limits, ModelInfo, ModelState

log = structlog.get_logger(__name__)

RETRY_S = 30.0  # a model that failed to load is not tried again sooner


class Shared(NamedTuple):
    """What all models of a backend have in common."""

    settings: Settings
    version: str
    statistics: Statistics
    turns: Turns
    lose_device: Callable[[str], None]
    show_only_gpus: Callable[[Collection[str]], None]


class ServedModel:
    """A model's state, its engine while it is loaded, and who needs it. On the event loop."""

    def __init__(self, offer: Offer, shared: Shared) -> None:
        self._offer = offer
        self._shared = shared
        self._info = ModelInfo(offer.name, offer.source, limits=self._limits(8))
        self._loaded: Loaded | None = None
        self._watching: asyncio.Task[None] | None = None
        self._retry_at_s = 0.0
        self._changed = asyncio.Event()
        self.state = ModelState.AVAILABLE
        self.message = ""
        self.complaint = ""  # while the engine is stuck
        self.engine: AsyncEngine | None = None
        self.num_claims = 0  # requests that use it, or wait until it is loaded
        self.used_s = 0.0
        self.num_bytes = 0  # of its weights, as last measured
        self.budget_bytes = 0  # for all models on its device together, 0: not known
        self.is_leaving = False  # about to be unloaded: nobody new may claim it

    @property
    def name(self) -> str:
        return self._info.name

    @property
    def is_known(self) -> bool:
        """Whether it was loaded before, so that requests can be checked without loading it."""
        return bool(self._info.schedulers)

    @property
    def info(self) -> ModelInfo:
        """What is known of it now; while it is unloaded, as it was."""
        info = self._info if self._loaded is None else self._loaded.model.info
        limits = self._info.limits
        return replace(info, state=self.state, message=self.message, limits=limits)

    @property
    def model(self) -> AnyModel | None:
        return None if self._loaded is None else self._loaded.model

    @property
    def cost(self) -> CostModel | None:
        return None if self._loaded is None else self._loaded.cost

    @property
    def idle_s(self) -> float:
        """Seconds since the last request left it; 0 while one uses it."""
        return 0.0 if self.num_claims else time.perf_counter() - self.used_s

    @property
    def counts(self) -> Counts:
        return self.engine.counts if self.engine is not None else Counts(0, 0)

    async def changed(self) -> None:
        """Return when something about this model has changed."""
        await self._changed.wait()

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Keep it in memory, or wanted there."""
        self.num_claims += 1
        self.used_s = time.perf_counter()
        try:
            yield
        finally:
            self.num_claims -= 1
            self.used_s = time.perf_counter()
            self.notify()

    def notify(self) -> None:
        """Wake everybody who waits for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    def say(self, message: str) -> None:
        """What it is doing on the way into memory."""
        if self.engine is None and message != self.message:
            self.message = message
            log.info("loading", model=self.name, message=message)
            self.notify()

    # Loading

    async def expect_bytes(self) -> int:
        """The memory that it will take, as last measured or guessed."""
        return self.num_bytes or await asyncio.to_thread(self._offer.expected_bytes)

    def check_retry(self) -> None:
        """Refuse at once if loading it failed a moment ago.

        Raises:
            ModelFailed: with the reason.
        """
        if self.state is ModelState.FAILED and time.perf_counter() < self._retry_at_s:
            raise ModelFailed(self.message)

    async def load(self) -> None:
        """Load it; returns once the state is LOADED or FAILED."""
        self._become(ModelState.LOADING, self.message or "Loading.")
        try:
            loaded = await load_on_thread(self._offer.load, self.say)
        except asyncio.CancelledError:
            self._become(ModelState.AVAILABLE, "")
            raise
        except DeviceLost as error:
            self.fail(str(error))
            self._shared.lose_device(str(error))
        except BackendError as error:
            self.fail(str(error), RETRY_S)
        except Exception:
            log.exception("model failed to load", model=self.name)
            self.fail("The model failed to load; the log says why.", RETRY_S)
        else:
            self._serve(loaded)

    def _serve(self, loaded: Loaded) -> None:
        shared, settings = self._shared, self._shared.settings
        self._loaded, self._info = loaded, loaded.model.info
        self._info = replace(self._info, limits=self._limits(self._info.size_multiple))
        self.num_bytes, self.budget_bytes = loaded.num_bytes, loaded.budget_bytes
        shared.show_only_gpus(loaded.gpus)
        scheduler = Scheduler(loaded.cost, settings.max_queue, settings.max_queue_per_client)
        self.engine = AsyncEngine(
            loaded.model,
            scheduler,
            loaded.cost,
            shared.statistics,
            shared.version,
            self._broke,
            shared.lose_device,
            shared.turns,
        )
        threading.Thread(target=loaded.calibrate, args=(self.engine,), name="calibration").start()
        watching = follow(self.engine.watchdog, self._stuck, self._recovered)
        self._watching = asyncio.create_task(watching)
        self.used_s = time.perf_counter()
        note = f", {self._info.note}" if self._info.note else ""
        self._become(ModelState.LOADED, f"Serving {self.name}{note}.")

    def _limits(self, size_multiple: int) -> Limits:
        limits = self._offer.limits or self._shared.settings.limits
        return limits(size_multiple)

    async def unload(self, message: str) -> None:
        """End the engine, save the measured costs, and free the memory."""
        await self._end_engine()
        self._become(ModelState.AVAILABLE, message)

    async def _end_engine(self) -> None:
        engine, loaded = self.engine, self._loaded
        self.engine = self._loaded = None
        if self._watching is not None:
            self._watching.cancel()
        if engine is None or loaded is None or not await engine.stop():
            return  # stuck: its thread still holds the model
        await asyncio.to_thread(loaded.keep_costs)
        release = loaded.release
        del engine, loaded
        await asyncio.to_thread(self._release, release)

    def _release(self, release: Callable[[], None]) -> None:
        with self._shared.turns:
            release()

    # Failures

    def fail(self, message: str, retry_s: float = float("inf")) -> None:
        self._retry_at_s = time.perf_counter() + retry_s
        self._become(ModelState.FAILED, message)

    def _broke(self) -> None:
        self.fail("The engine broke; the log says why. Restart the service.")

    def _stuck(self, complaint: str) -> None:
        engine, exit_s = self.engine, self._shared.settings.stuck_exit_s
        if engine is None:
            return
        if not self.complaint:
            log.error("stuck", model=self.name, complaint=complaint, stack=engine.stack)
        self.complaint = complaint
        if 0 < exit_s < engine.watchdog.overdue_s:
            log.critical("exiting, for a supervisor to start anew", complaint=complaint)
            os._exit(EXIT_STUCK)

    def _recovered(self) -> None:
        self.complaint = ""
        log.info("recovered", model=self.name)

    def _become(self, state: ModelState, message: str) -> None:
        self.state, self.message = state, message
        log.info("model", model=self.name, state=state.name, message=message)
        self.notify()
