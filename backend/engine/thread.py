"""The one thread that owns the model, and the bridge between it and the event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from typing import Any, NamedTuple, TypeVar

import structlog

from backend.domain import Done, Event, Progress, Queued, Timings
from backend.engine.cost import CostModel
from backend.engine.encoder import Encoder
from backend.engine.engine import Engine
from backend.engine.jobs import Job
from backend.engine.loading import EngineStopped
from backend.engine.protocols import AnyModel, Picture, Pixels
from backend.engine.request import Request
from backend.engine.scheduler import Scheduler
from backend.engine.statistics import Statistics
from backend.engine.turns import Turns
from backend.engine.unfinished_jobs import Counts, UnfinishedJobs
from backend.engine.watchdog import Watchdog, stack_of
from backend.errors import BackendError, DeviceLost
from backend.params import GenerationParams

log = structlog.get_logger(__name__)

T = TypeVar("T")

JOIN_S = 0.5
MAX_BREAKDOWNS = 3  # without a finished request in between; then the thread ends


class _Add(NamedTuple):
    request: Request


class _Abort(NamedTuple):
    request: Request


class _Aside(NamedTuple):
    work: Callable[[], None]


class _Stop(NamedTuple):
    pass


class AsyncEngine:
    """Runs an Engine on its own thread. Public methods are called on the event loop.

    Except `run` and `sleep`: they implement `IdleTime`, for a third thread.
    """

    def __init__(
        self,
        model: AnyModel,
        scheduler: Scheduler,
        cost: CostModel,
        statistics: Statistics,
        version: str,
        on_broken: Callable[[], None] = lambda: None,
        on_device_lost: Callable[[str], None] = lambda _: None,
        turns: Turns | None = None,
    ) -> None:
        """Start the thread.

        Args:
            model: generates the images.
            scheduler: picks the next work.
            cost: predicts how long the model takes; updated with measured times.
            statistics: counts how every request ended.
            version: version of the service, written into the images' metadata.
            on_broken: called on the event loop after `MAX_BREAKDOWNS` failures of the engine.
            on_device_lost: called there with the reason when only a new process can recover.
            turns: those of the engines on the same device; None if there is no other.
        """
        self._model = model
        self._statistics = statistics
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[_Add | _Abort | _Aside | _Stop] = queue.SimpleQueue()
        self._asides: deque[Callable[[], None]] = deque()  # touched by the engine's thread alone
        self._ended: Future[None] = Future()
        self._jobs = UnfinishedJobs(statistics)  # touched by the event loop alone
        self._encoder = Encoder(model, version, self._post, self._fail_encoding)
        self.watchdog = Watchdog()
        self._engine = Engine(model, scheduler, cost, observer=self, watchdog=self.watchdog)
        self._on_broken = on_broken
        self._on_device_lost = on_device_lost
        self._turns = turns or Turns()
        self._breakdowns = 0  # touched by the engine's thread alone
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the engine's thread still runs."""
        return self._thread.is_alive()

    @property
    def counts(self) -> Counts:
        return self._jobs.counts

    @property
    def next_end_s(self) -> float:
        """See `UnfinishedJobs.next_end_s`."""
        return self._jobs.next_end_s

    def submit(self, job: Job) -> None:
        """Queue a job; its events are posted to it as they occur."""
        self._jobs.add(job)
        self._inbox.put(_Add(job.request))

    def abort(self, job: Job) -> None:
        """Stop a job before its next step. A job that has already ended is not an error."""
        if self._jobs.cancel(job):
            job.request.aborted = True  # the scheduler sees this before the message
            self._inbox.put(_Abort(job.request))

    @property
    def stack(self) -> str:
        return stack_of(self._thread.ident)

    async def stop(self) -> bool:
        """End the thread after its current step, dropping unfinished requests.

        Returns False if the thread is stuck; it is then left running.
        """
        self._inbox.put(_Stop())
        while self._thread.is_alive() and not self.watchdog.overdue_s:
            await asyncio.to_thread(self._thread.join, JOIN_S)
        self._encoder.stop()
        return not self._thread.is_alive()

    def run(self, work: Callable[[], T]) -> T:
        future: Future[T] = Future()
        self._inbox.put(_Aside(partial(_settle, future, work)))
        either: list[Future[Any]] = [future, self._ended]
        wait(either, return_when=FIRST_COMPLETED)
        if not future.done():
            raise EngineStopped
        return future.result()

    def sleep(self, seconds: float) -> None:
        if wait([self._ended], seconds).done:
            raise EngineStopped

    # On the engine's thread

    def _run(self) -> None:
        try:
            with self._turns:
                self._model.bind()
            self._work_until_broken()
        finally:
            self._ended.set_result(None)

    def _work_until_broken(self) -> None:
        while self._breakdowns < MAX_BREAKDOWNS:
            try:
                self._work_until_stopped()
                return
            except DeviceLost as error:
                self._call(self._lose_device, error)
                return
            except Exception:  # not caused by a single request, so none of them can be trusted
                log.exception("the engine broke")
                self._breakdowns += 1
                self._engine.fail_all()
        self._call(self._give_up)

    def _work_until_stopped(self) -> None:
        is_busy = False
        while self._take_messages(block=not is_busy):
            with self._turns:
                is_busy = self._engine.step() or self._work_aside()

    def _work_aside(self) -> bool:
        """Run one idle-time task. Returns False if there was none."""
        if not self._asides:
            return False
        with self.watchdog.watch("Measuring in idle time", None):
            self._asides.popleft()()
        return True

    def _take_messages(self, block: bool) -> bool:
        """Empty the inbox; `block` waits for a first message. Returns False on `_Stop`."""
        while True:
            try:
                message = self._inbox.get(block)
            except queue.Empty:
                return True
            block = False
            match message:
                case _Add(request):
                    self._engine.add(request)
                case _Abort(request):
                    self._engine.abort(request)
                case _Aside(work):
                    self._asides.append(work)
                case _Stop():
                    return False

    def get_ready(self, params: GenerationParams) -> None:
        """See `DiffusionModel.get_ready`."""
        self._model.get_ready(params)

    def num_chunks(self, params: GenerationParams) -> int:
        """See `DiffusionModel.num_chunks`."""
        return self._model.num_chunks(params)

    # Observer, called on the engine's thread

    def on_queued(self, request: Request, event: Queued) -> None:
        self._post(request, event)

    def on_progress(self, request: Request, event: Progress, preview: Pixels | None) -> None:
        if preview is None:
            self._post(request, event)
        else:
            self._encoder.add_preview(request, event, preview)

    def on_step(self, seconds: float, rows: int) -> None:
        self._statistics.stepped(seconds, rows)

    def on_image(self, request: Request, index: int, picture: Picture) -> None:
        self._encoder.add_picture(request, index, picture)

    def on_finished(self, request: Request, timings: Timings) -> None:
        self._breakdowns = 0
        model = self._model
        done = Done(
            request.id,
            request.params,
            model.info,
            model.exactness,
            timings,
            model.warnings(request.params),
        )
        self._post(request, done)

    def on_failed(self, request: Request, error: BackendError) -> None:
        self._call(self._jobs.fail, request, error)

    # Back to the event loop, from the engine's thread and the encoder's

    def _post(self, request: Request, event: Event) -> None:
        self._call(self._jobs.deliver, request, event)

    def _fail_encoding(self, request: Request, error: BackendError) -> None:
        if isinstance(error, DeviceLost):
            self._call(self._lose_device, error)
        else:
            self._call(self._jobs.fail, request, error)

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            log.debug("event loop is closed")

    def _give_up(self) -> None:
        self._on_broken()
        self._jobs.fail_all("the engine broke")

    def _lose_device(self, error: DeviceLost) -> None:
        log.critical("the device is lost", error=str(error))
        self._on_device_lost(str(error))
        self._jobs.fail_all("the device is lost")


def _settle(future: Future[T], work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except DeviceLost as error:
        future.set_exception(error)
        raise
    except Exception as error:
        future.set_exception(error)
