"""The one thread that owns the model, and the bridge between it and the event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, NamedTuple, TypeVar

import structlog

from backend import images
from backend.domain import (
    Done,
    Event,
    FinishedImage,
    GeneratedImage,
    Progress,
    Queued,
    Timings,
)
from backend.engine.cost import CostModel
from backend.engine.engine import Engine
from backend.engine.jobs import Job
from backend.engine.loading import EngineStopped
from backend.engine.protocols import AnyModel, Picture, Pixels
from backend.engine.request import Request
from backend.engine.scheduler import Scheduler
from backend.engine.statistics import Statistics
from backend.engine.watchdog import Watchdog, stack_of
from backend.errors import BackendError, DeviceLost, GenerationFailed
from backend.params import GenerationParams

log = structlog.get_logger(__name__)

T = TypeVar("T")

JOIN_S = 0.5
MAX_BREAKDOWNS = 3  # without a finished request in between; then the thread ends
NUM_ENCODERS = 2  # threads that write PNG and JPEG; Pillow releases the GIL


class Counts(NamedTuple):
    """Number of requests waiting, and of those started."""

    queued: int
    running: int


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
        """
        self._model = model
        self._statistics = statistics
        self._version = version
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[_Add | _Abort | _Aside | _Stop] = queue.SimpleQueue()
        self._asides: deque[Callable[[], None]] = deque()  # touched by the engine's thread alone
        self._ended: Future[None] = Future()
        self._encoders = ThreadPoolExecutor(NUM_ENCODERS, thread_name_prefix="encoder")
        self._jobs: dict[Request, Job] = {}  # touched by the event loop alone
        self.watchdog = Watchdog()
        self._engine = Engine(model, scheduler, cost, observer=self, watchdog=self.watchdog)
        self._on_broken = on_broken
        self._on_device_lost = on_device_lost
        self._breakdowns = 0  # touched by the engine's thread alone
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the engine's thread still runs."""
        return self._thread.is_alive()

    @property
    def counts(self) -> Counts:
        running = sum(request.started_at_s is not None for request in self._jobs)
        return Counts(len(self._jobs) - running, running)

    @property
    def next_end_s(self) -> float:
        """Predicted seconds until the first running request ends, at least 0.1."""
        etas_ms = [job.progress.eta_ms for job in self._jobs.values() if job.progress is not None]
        return max(0.1, min(etas_ms, default=1000.0) / 1000)

    def submit(self, job: Job) -> None:
        """Queue a job; its events are posted to it as they occur."""
        self._jobs[job.request] = job
        self._statistics.received += 1
        self._inbox.put(_Add(job.request))

    def abort(self, job: Job) -> None:
        """Stop a job before its next step. A job that has already ended is not an error."""
        if self._jobs.pop(job.request, None) is None:
            return
        job.request.aborted = True  # the scheduler sees this before the message
        self._statistics.cancelled += 1
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
        self._encoders.shutdown(wait=False, cancel_futures=True)
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
            self._encode(request, lambda: self._encode_preview(request, event, preview))

    def on_step(self, seconds: float, rows: int) -> None:
        self._statistics.stepped(seconds, rows)

    def on_image(self, request: Request, index: int, picture: Picture) -> None:
        self._encode(request, lambda: self._encode_picture(request, index, picture))

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
        self._call(self._fail, request, error)

    # Encoding, on the encoder threads

    def _encode(self, request: Request, make: Callable[[], Event]) -> None:
        def deliver(future: Future[Event]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is None:
                self._post(request, future.result())
                return
            if isinstance(error, DeviceLost):
                self._call(self._lose_device, error)
            elif isinstance(error, BackendError):  # raised by the safety checker
                self._call(self._fail, request, error)
            else:
                log.error("encoding failed", request_id=request.id, exc_info=error)
                self._call(self._fail, request, GenerationFailed("encoding failed"))

        self._encoders.submit(make).add_done_callback(deliver)

    def _encode_preview(self, request: Request, event: Progress, pixels: Pixels) -> Progress:
        height, width = pixels.shape[:2]
        data = images.encode_preview(pixels)
        preview = GeneratedImage(data, "image/jpeg", width, height, request.params.seed)
        return Progress(event.step, event.num_steps, event.eta_ms, preview)

    def _encode_picture(self, request: Request, index: int, picture: Picture) -> FinishedImage:
        params, seed = request.params, request.params.seed + index
        height, width = picture.pixels.shape[:2]
        data = b""
        if not picture.nsfw_detected:
            provenance = images.Provenance(params, seed, self._model.info, self._version)
            data = images.encode(picture.pixels, params.output_format, provenance)
        mime_type = params.output_format.mime_type
        image = GeneratedImage(data, mime_type, width, height, seed, picture.nsfw_detected)
        return FinishedImage(index, image)

    # Back to the event loop

    def _post(self, request: Request, event: Event) -> None:
        self._call(self._deliver, request, event)

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            log.debug("event loop is closed")

    def _deliver(self, request: Request, event: Event) -> None:
        job = self._jobs.get(request)
        if job is None:
            return
        job.post(event)
        if job.is_over:
            del self._jobs[request]
            self._statistics.completed(job)

    def _give_up(self) -> None:
        self._on_broken()
        self._fail_all("the engine broke")

    def _lose_device(self, error: DeviceLost) -> None:
        log.critical("the device is lost", error=str(error))
        self._on_device_lost(str(error))
        self._fail_all("the device is lost")

    def _fail_all(self, reason: str) -> None:
        for request in [*self._jobs]:
            self._fail(request, GenerationFailed(reason))

    def _fail(self, request: Request, error: BackendError) -> None:
        job = self._jobs.pop(request, None)
        if job is not None:
            self._statistics.failed(error)
            job.fail(error)


def _settle(future: Future[T], work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except DeviceLost as error:
        future.set_exception(error)
        raise
    except Exception as error:
        future.set_exception(error)
