"""A request and its images, as the engine and the scheduler see them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from backend.engine.protocols import Pixels, Trajectory
from backend.params import GenerationParams, Lora
from backend.source_picture import SourcePicture
from backend.upscale import enlarge

UNDRAWN = SourcePicture("", np.empty((0, 0, 3), np.uint8))  # of a second pass to come


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
    params: GenerationParams = field(init=False)  # of the pass that it is in
    following: GenerationParams | None = field(init=False)  # of the second pass, still to come
    evaluations_before: int = 0  # of the first pass, in the second

    def __post_init__(self) -> None:
        params = self.params = self.request.params
        self.following = params.second_pass(UNDRAWN) if params.upscaled is not None else None

    def start_following(self, pixels: Pixels) -> None:
        """Begin the second pass with what the first one drew."""
        assert self.following is not None
        enlarged = enlarge(pixels, self.following.width, self.following.height)
        self.evaluations_before = self.num_evaluations
        self.params = replace(self.following, init_image=SourcePicture("", enlarged))
        self.stage, self.trajectory, self.following = Stage.WAITING, None, None

    @property
    def batch_key(self) -> BatchKey:
        key = self.request.batch_key
        return key._replace(height=self.params.height, width=self.params.width)

    @property
    def is_untouched(self) -> bool:
        is_waiting = self.stage is Stage.WAITING and self.source is None
        return is_waiting and not self.evaluations_before

    @property
    def needs_source(self) -> bool:
        """Whether a picture has to be encoded before the first step."""
        is_waiting = self.stage is Stage.WAITING and self.source is None
        return is_waiting and self.params.init_image is not None

    @property
    def evaluations_in_all(self) -> int:
        """Of both passes."""
        following = 0 if self.following is None else predict_evaluations(self.following)
        return self.evaluations_before + self.num_evaluations + following

    @property
    def evaluations_done(self) -> int:
        """Of both passes."""
        is_over = self.stage in (Stage.DECODING, Stage.FINISHED)
        return self.evaluations_before + (self.num_evaluations if is_over else self.step_index)

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
        return predict_evaluations(self.params)


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
    def _loras(self) -> tuple[Lora, ...]:
        return tuple(sorted(self.params.loras, key=lambda lora: lora.name))

    @property
    def batch_key(self) -> BatchKey:
        params = self.params
        return BatchKey(params.height, params.width, self._loras, self.num_chunks)

    @property
    def is_waiting(self) -> bool:
        """Whether no image has been started."""
        return all(task.is_untouched for task in self.tasks)

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
