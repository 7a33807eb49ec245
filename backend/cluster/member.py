"""One replica as the front sees it: its last report, and what it is doing for us."""

from __future__ import annotations

from dataclasses import dataclass, field

from backend.cluster.handle import Handle
from backend.cluster.replica import Report
from backend.domain import ReplicaStatus, State
from backend.engine.cost import CostModel
from backend.engine.jobs import Job
from backend.engine.request import Request
from backend.params import ModelInfo

HANDOVER_MS = 50.0  # a replica that will be free so soon gets its next request now


@dataclass(eq=False)
class Member:
    """A replica of the fleet. Times are `time.perf_counter()` seconds."""

    handle: Handle
    report: Report | None = None
    models: tuple[ModelInfo, ...] = ()  # with abilities
    is_leaving: bool = False
    idle_since_s: float | None = None
    work: dict[Job, float] = field(default_factory=dict)  # predicted ms when it was handed over

    @property
    def is_ready(self) -> bool:
        """Whether it takes requests."""
        report = self.report
        return report is not None and report.status.state is State.READY and not self.is_leaving

    def cost(self, model: str) -> CostModel:
        """Its costs for this model; unmeasured ones where it has not reported any."""
        costs = self.report.costs if self.report is not None else {}
        return costs.get(model) or next(iter(costs.values()), None) or CostModel()

    @property
    def busy_ms(self) -> float:
        """Predicted time until it is done with what it has."""
        return sum(predicted * _left(job) for job, predicted in self.work.items())

    @property
    def has_room(self) -> bool:
        """Whether some request could start at once."""
        return self.busy_ms <= HANDOVER_MS or self._used < 1.0

    def can_take(self, request: Request) -> bool:
        """Whether the request would start at once: alone, or in a step with the others."""
        return self.busy_ms <= HANDOVER_MS or self._used + self._share(request) <= 1.0

    @property
    def _used(self) -> float:
        """The part of its largest useful UNet call that is taken."""
        return sum(self._share(job.request) for job in self.work)

    def end_ms(self, request: Request) -> float:
        """Predicted time until it would have finished this request, too."""
        return self.busy_ms + self.cost(request.params.model).request_ms(request)

    def _share(self, request: Request) -> float:
        """The part that a request takes of the largest useful UNet call, at most 1."""
        height, width = request.batch_key[:2]
        rows = sum(task.num_rows for task in request.tasks)
        return min(1.0, rows / self.cost(request.params.model).max_rows(height, width))

    @property
    def status(self) -> ReplicaStatus:
        """For GetStatus."""
        name, running = self.handle.name, len(self.work)
        if self.report is None:
            return ReplicaStatus(name, State.STARTING, "Waiting for a place and its process.")
        status = self.report.status
        state = State.DRAINING if self.is_leaving else status.state
        first = status.models[0] if status.models else None
        return ReplicaStatus(
            name=name,
            state=state,
            message=status.message,
            host=self.report.host,
            device=first.device if first is not None else "",
            running=running,
            process_memory_bytes=status.resources.process_memory_bytes,
        )


def _left(job: Job) -> float:
    """The part of a job's steps still to do, 0 to 1."""
    if job.progress is None:
        return 1.0
    return 1.0 - job.progress.step / max(1, job.progress.num_steps)
