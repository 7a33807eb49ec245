"""A request and its images, as the engine and the scheduler see them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from backend.engine.protocols import Trajectory
from backend.params import GenerationParams, Lora


class Stage(enum.Enum):
    """Progress of one image."""

    WAITING = enum.auto()
    DENOISING = enum.auto()
    DECODING = enum.auto()
    FINISHED = enum.auto()


class BatchKey(NamedTuple):
    """Images with equal keys may share a UNet call. Sizes in pixels."""

    height: int
    width: int
    loras: tuple[Lora, ...]
    num_chunks: int = 1  # of prompt_embeds; rows of different lengths would need a mask


@dataclass(eq=False, slots=True)
class Task:
    """One image of a request. Changed by the engine only."""

    request: Request
    index: int
    stage: Stage = Stage.WAITING
    trajectory: Trajectory | None = None
    source: Any = None  # the model's encoding of the initial picture

    @property
    def needs_source(self) -> bool:
        """Whether a picture has to be encoded before the first step."""
        is_waiting = self.stage is Stage.WAITING and self.source is None
        return is_waiting and self.request.params.init_image is not None

    @property
    def num_rows(self) -> int:
        """UNet rows per step: 2 with classifier-free guidance, else 1."""
        if self.trajectory is not None:
            return self.trajectory.num_rows
        return 2 if self.request.params.do_classifier_free_guidance else 1

    @property
    def step_index(self) -> int:
        """UNet evaluations done."""
        return self.trajectory.step_index if self.trajectory is not None else 0

    @property
    def num_evaluations(self) -> int:
        """UNet evaluations in all; a prediction until the trajectory exists."""
        if self.trajectory is not None:
            return self.trajectory.num_evaluations
        return predict_evaluations(self.request.params)


@dataclass(eq=False, slots=True)
class Request:
    """One call for `params.num_images` images. Times are `time.perf_counter()` seconds."""

    id: str
    client: str
    params: GenerationParams
    arrived_s: float
    deadline_at_s: float | None = None
    num_chunks: int = 1
    aborted: bool = False
    started_at_s: float | None = None
    tasks: list[Task] = field(init=False)

    def __post_init__(self) -> None:
        self.tasks = [Task(self, index) for index in range(self.params.num_images)]

    @property
    def batch_key(self) -> BatchKey:
        params = self.params
        return BatchKey(params.height, params.width, params.loras, self.num_chunks)

    @property
    def is_waiting(self) -> bool:
        """Whether no image has been started."""
        return all(task.stage is Stage.WAITING and task.source is None for task in self.tasks)

    @property
    def is_finished(self) -> bool:
        return all(task.stage is Stage.FINISHED for task in self.tasks)


def predict_evaluations(params: GenerationParams) -> int:
    """UNet evaluations that diffusers' noise schedulers need for the steps that are run."""
    steps = params.num_denoising_steps
    if params.scheduler == "pndm":
        return steps + 1  # its second step takes two evaluations
    if params.scheduler == "heun":
        return 2 * steps - 1  # second order, except the last step
    return steps
