"""The engine: schedule, run, report. Synchronous and single-threaded; no asyncio, no torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from backend.domain import Timings
from backend.engine.cost import CostModel
from backend.engine.lap import HostLap, Laps
from backend.engine.observer import Observer
from backend.engine.progress import ProgressReports
from backend.engine.protocols import AnyModel, Lap
from backend.engine.request import BatchKey, Request, Stage, Task
from backend.engine.scheduler import Decode, Denoise, Encode, Scheduler
from backend.engine.watchdog import Watchdog
from backend.errors import BackendError, DeviceLost, GenerationFailed, OutOfMemory

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Timing:
    """Time spent on a request."""

    encode_ms: float = 0.0
    denoise_ms: float = 0.0
    decode_ms: float = 0.0


class Engine:
    """Owns the model and every request from admission to its end.

    Raises:
        DeviceLost: by every method that calls the model; no further computation is possible.
    """

    def __init__(
        self,
        model: AnyModel,
        scheduler: Scheduler,
        cost: CostModel,
        observer: Observer,
        clock: Callable[[], float] = time.perf_counter,
        watchdog: Watchdog | None = None,
    ) -> None:
        self._model = model
        self._scheduler = scheduler
        self._cost = cost
        self._observer = observer
        self._clock = clock
        self._watchdog = watchdog or Watchdog()
        self._requests: dict[Request, _Timing] = {}
        self._progress = ProgressReports(model, scheduler, observer, clock)
        self._laps = Laps()

    def add(self, request: Request) -> None:
        """Admit a request; a refusal goes to the observer."""
        try:
            self._scheduler.add(request, self._clock())
        except BackendError as error:
            self._observer.on_failed(request, error)
            return
        self._requests[request] = _Timing()
        self._progress.add(request)
        self._progress.report_positions()

    def abort(self, request: Request) -> None:
        """Remove a request before the next step. A finished one is not an error."""
        request.aborted = True
        self._remove(request)

    def fail_all(self) -> None:
        """Fail every request, after an error that no single request caused."""
        requests = [*self._requests]
        self._requests.clear()
        for request in requests:
            self._progress.remove(request)
            self._observer.on_failed(request, GenerationFailed(f"request {request.id} failed"))
            self._scheduler.remove(request)

    def step(self) -> bool:
        """Run one UNet call or one decode. Returns False if there was nothing to do."""
        self._laps.settle()
        match self._scheduler.next_work(self._clock()):
            case Denoise(tasks):
                self._denoise(tasks)
            case Decode(task):
                self._decode(task)
            case Encode(task):
                self._encode(task)
            case None:
                return False
        return True

    # Denoising

    def _denoise(self, tasks: Sequence[Task]) -> None:
        began = [task.request for task in tasks if task.stage is Stage.WAITING]
        for task in tasks:
            if task.stage is Stage.WAITING and task.request in self._requests:
                self._prepare(task)
        if began:
            self._progress.report_positions()
        self._advance([task for task in tasks if task.trajectory is not None])

    def _encode(self, task: Task) -> None:
        """Encode the picture that `task` starts from, for all images that share it."""
        request, params, key = task.request, task.params, task.batch_key
        timing = self._requests[request]
        self._begin(request)
        lap = self._start_lap()
        try:
            with self._watchdog.watch("Encoding a picture", self._cost.pictures.get(key[:2])):
                source = self._model.encode(params)
        except DeviceLost:
            raise
        except Exception as error:
            self._fail(request, error)
            return
        for other in request.tasks:
            if other.needs_source and other.params.init_image is params.init_image:
                other.source = source

        def record(took_ms: float, is_typical: bool) -> None:
            timing.encode_ms += took_ms
            if is_typical:
                self._cost.observe("picture", key, 0, took_ms)

        self._laps.stop(lap, record)
        self._progress.report_positions()

    def _begin(self, request: Request) -> None:
        if request.started_at_s is None:
            request.started_at_s = self._clock()

    def _prepare(self, task: Task) -> None:
        request, timing = task.request, self._requests[task.request]
        self._begin(request)
        # LoRAs whose merged weights had to go are merged again.
        expected_ms = None if request.params.loras else self._cost.encode
        lap = self._start_lap()
        try:
            with self._watchdog.watch("Encoding a prompt", expected_ms):
                task.trajectory = self._model.prepare(task.params, task.index, task.source)
        except DeviceLost:
            raise
        except Exception as error:
            self._fail(request, error)
            return
        task.stage, task.source = Stage.DENOISING, None

        def record(took_ms: float, is_typical: bool) -> None:
            timing.encode_ms += took_ms
            if is_typical and not request.params.loras:
                self._cost.observe("encode", None, 0, took_ms)

        self._laps.stop(lap, record)

    def _advance(self, tasks: Sequence[Task]) -> None:
        """One UNet call. If it fails, retry in halves, so that only the bad row fails."""
        tasks = [task for task in tasks if task.request in self._requests]
        if not tasks:
            return
        lap = self._start_lap()
        try:
            with self._watchdog.watch(*self._expected_step(tasks)):
                outcomes = self._model.denoise_step([task.trajectory for task in tasks])
        except DeviceLost:
            raise
        except Exception as error:
            self._split(tasks, error)
            return
        key, rows = tasks[0].batch_key, sum(task.num_rows for task in tasks)
        timings = [self._requests[request] for request in {task.request for task in tasks}]

        def record(took_ms: float, is_typical: bool) -> None:
            for timing in timings:
                timing.denoise_ms += took_ms
            self._observer.on_step(took_ms / 1000, rows)
            if is_typical and key.num_chunks == 1:  # longer prompts cost a little more
                self._cost.observe("step", key, rows, took_ms)

        self._laps.stop(lap, record)
        for task, outcome in zip(tasks, outcomes, strict=True):
            if outcome is not None:
                self._fail(task.request, outcome)
            elif task.step_index == task.num_evaluations:
                task.stage = Stage.DECODING
        self._progress.report_steps(tasks)

    def _expected_step(self, tasks: Sequence[Task]) -> tuple[str, float | None]:
        height, width = tasks[0].batch_key[:2]
        rows = sum(task.num_rows for task in tasks)
        is_measured = (height, width, rows) in self._cost.steps
        name = f"A step of {rows} rows of {width} × {height} pixels"
        return name, self._cost.step_ms(height, width, rows) if is_measured else None

    def _expected_decode(self, key: BatchKey) -> tuple[str, float | None]:
        height, width = key[:2]
        is_measured = (height, width) in self._cost.decodes
        name = f"Decoding {width} × {height} pixels"
        return name, self._cost.decode_ms(height, width) if is_measured else None

    def _split(self, tasks: Sequence[Task], error: Exception) -> None:
        if isinstance(error, OutOfMemory):
            rows = sum(task.num_rows for task in tasks)
            self._cost.ran_out_of_memory(tasks[0].batch_key, rows)
        if len(tasks) == 1:
            self._fail(tasks[0].request, error)
            return
        middle = len(tasks) // 2
        self._advance(tasks[:middle])
        self._advance(tasks[middle:])

    # Decoding

    def _decode(self, task: Task) -> None:
        request, timing, key = task.request, self._requests[task.request], task.batch_key
        lap = self._start_lap()
        try:
            with self._watchdog.watch(*self._expected_decode(key)):
                picture = self._model.decode(task.trajectory)
        except DeviceLost:
            raise
        except Exception as error:
            self._fail(request, error)
            return

        def record(took_ms: float, is_typical: bool) -> None:
            timing.decode_ms += took_ms
            if is_typical:
                self._cost.observe("decode", key, 0, took_ms)

        self._laps.stop(lap, record)
        if task.following is not None and not picture.nsfw_detected:
            task.start_following(picture.pixels)
            return
        task.stage, task.trajectory = Stage.FINISHED, None
        self._observer.on_image(request, task.index, picture)
        if request.is_finished:
            self._finish(request)

    def _finish(self, request: Request) -> None:
        timing = self._requests[request]
        started_s = request.started_at_s if request.started_at_s is not None else self._clock()
        timings = Timings(
            queued_ms=(started_s - request.arrived_s) * 1000,
            encode_ms=timing.encode_ms,
            denoise_ms=timing.denoise_ms,
            decode_ms=timing.decode_ms,
            total_ms=self._ms_since(request.arrived_s),
        )
        self._observer.on_finished(request, timings)
        self._remove(request)

    # Ends

    def _fail(self, request: Request, error: Exception) -> None:
        if request not in self._requests:
            return
        if not isinstance(error, BackendError):
            log.error("generation failed", request_id=request.id, exc_info=error)
            error = GenerationFailed(f"request {request.id} failed")
        self._observer.on_failed(request, error)
        self._remove(request)

    def _remove(self, request: Request) -> None:
        if self._requests.pop(request, None) is None:
            return
        self._progress.remove(request)
        self._scheduler.remove(request)
        for task in request.tasks:
            task.trajectory = None
        self._progress.report_positions()

    def _start_lap(self) -> Lap:
        return self._model.start_lap() or HostLap(self._clock)

    def _ms_since(self, started_s: float) -> float:
        return (self._clock() - started_s) * 1000
