"""Reports steps, previews and places in the queue to the observer, each when it changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from backend.domain import Progress
from backend.engine.observer import Observer
from backend.engine.protocols import AnyModel, Pixels
from backend.engine.request import Request, Stage, Task
from backend.engine.scheduler import Scheduler
from backend.errors import DeviceLost

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Reported:
    """What was last reported of a request."""

    position: int | None = None
    step: int = 0
    previewed_step: int = 0


class ProgressReports:
    """Progress of the requests that were added and not removed yet."""

    def __init__(
        self,
        model: AnyModel,
        scheduler: Scheduler,
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self._model = model
        self._scheduler = scheduler
        self._observer = observer
        self._clock = clock
        self._reported: dict[Request, _Reported] = {}

    def add(self, request: Request) -> None:
        self._reported[request] = _Reported()

    def remove(self, request: Request) -> None:
        self._reported.pop(request, None)

    def report_steps(self, tasks: Sequence[Task]) -> None:
        """Report the step that `tasks` have just done, with a preview where one is due.

        Raises:
            DeviceLost: by the preview.
        """
        served = {task.request for task in tasks if task.request in self._reported}
        etas_ms = self._scheduler.etas_ms(served, self._clock())
        for request, eta_ms in etas_ms.items():
            last, first, step = self._reported[request], request.tasks[0], _steps_done(request)
            preview = self._preview(first, last) if first in tasks else None
            if step == last.step and preview is None:
                continue  # PNDM and Heun evaluate the UNet more often than they step
            last.step = step
            event = Progress(step, request.params.num_steps, eta_ms)
            self._observer.on_progress(request, event, preview)

    def report_positions(self) -> None:
        for request, event in self._scheduler.line(self._clock()):
            last = self._reported[request]
            if event.position != last.position:
                last.position = event.position
                self._observer.on_queued(request, event)

    def _preview(self, task: Task, last: _Reported) -> Pixels | None:
        interval, step = task.request.params.preview_interval, _task_steps_done(task)
        if interval == 0 or task.stage is not Stage.DENOISING:
            return None
        if step == last.previewed_step or step % interval:
            return None
        last.previewed_step = step
        try:
            return self._model.preview(task.trajectory)
        except DeviceLost:
            raise
        except Exception:
            log.exception("preview failed", request_id=task.request.id)
            return None


def _steps_done(request: Request) -> int:
    """Steps done, averaged over the request's images; at least 1."""
    done = sum(task.evaluations_done for task in request.tasks)
    all_evaluations = sum(task.evaluations_in_all for task in request.tasks)
    return -(-done * request.params.num_steps // all_evaluations)


def _task_steps_done(task: Task) -> int:
    """Steps done for one image."""
    return -(-task.evaluations_done * task.request.params.num_steps // task.evaluations_in_all)
