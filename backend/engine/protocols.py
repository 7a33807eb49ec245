"""What the engine asks of a model, and what the transports ask of a backend."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from backend.domain import Event, Exactness, GenerationWarning, ServiceStatus
from backend.errors import Violation
from backend.params import Draft, GenerationParams, ModelInfo

Pixels = NDArray[np.uint8]  # [height, width, 3], RGB


class Picture:
    """A decoded image; the pixels of a flagged one are black and must not be sent.

    Where the safety checker runs beside the engine, both are known once it has looked: whoever
    asks first waits for it, so ask on another thread than the engine's.
    """

    def __init__(self, pixels: Pixels, nsfw_detected: bool | Callable[[], bool]) -> None:
        self._pixels = pixels
        self._nsfw_detected = nsfw_detected

    @cached_property
    def nsfw_detected(self) -> bool:
        found = self._nsfw_detected
        return found() if callable(found) else found

    @cached_property
    def pixels(self) -> Pixels:
        return np.zeros_like(self._pixels) if self.nsfw_detected else self._pixels


class Lap(Protocol):
    """Time on a device that computes behind the engine's back."""

    @property
    def is_typical(self) -> bool:
        """Whether nothing was in it that is done once: not a measurement otherwise."""

    def stop(self) -> None:
        """What was asked of the device since the start is all."""

    def ms(self) -> float | None:
        """Milliseconds; None while the device is not through."""


class Trajectory(Protocol):
    """One image on its way: the model's own state, of which the engine sees only this."""

    @property
    def num_rows(self) -> int:
        """UNet rows per step: 2 with classifier-free guidance, else 1."""

    @property
    def step_index(self) -> int:
        """UNet evaluations done."""

    @property
    def num_evaluations(self) -> int:
        """UNet evaluations in all: may differ from num_inference_steps (PNDM: one more)."""


T = TypeVar("T", bound=Trajectory)


class DiffusionModel(Protocol[T]):
    """How a model runs. Called from the engine thread alone; holds no policy."""

    exactness: Exactness

    @property
    def info(self) -> ModelInfo:
        """What is told of the model; what it says of the runtime may change."""

    def check(self, params: GenerationParams) -> Sequence[Violation]:
        """What this model can't do of parameters that are within the limits. Cheap; any thread.

        For example a scheduler that can't be combined with so many steps.
        """

    def warnings(self, params: GenerationParams) -> tuple[GenerationWarning, ...]:
        """What of a request that passed `check` can't be followed in full. Cheap; never raises."""

    def bind(self) -> None:
        """The calling thread is the engine's: called there once, before all that follows."""

    def start_lap(self) -> Lap | None:
        """Time what follows on the model's device; None where that is done when a call returns."""

    def prepare(self, params: GenerationParams, index: int) -> T:
        """Encode the prompts (cached) and draw the noise of image `index`, seed + index."""

    def denoise_step(self, trajectories: Sequence[T]) -> list[Exception | None]:
        """Advance every trajectory by one evaluation, all in one UNet call.

        Returns one entry per trajectory: None, or what went wrong with that one alone.
        State is committed only after the UNet call succeeded.

        Raises:
            OutOfMemory: nothing was committed; try again with fewer.
        """

    def decode(self, trajectory: T) -> Picture:
        """Latents to pixels, safety checker included.

        Raises:
            NonFiniteOutput: instead of a black picture.
        """

    def preview(self, trajectory: T) -> Pixels:
        """A small approximate picture of where the trajectory stands."""


class Backend(Protocol):
    """What a transport needs: an engine in this process, or a cluster of them."""

    def submit(
        self,
        draft: Draft,
        *,
        client: str,
        deadline_s: float | None,
    ) -> AsyncGenerator[Event, None]:
        """Queue a request, or join the one of the same id, and tell its story.

        Args:
            draft: its request_id counts within `client`.
            client: who asks: fairness and request_id go by it.
            deadline_s: seconds the caller will wait, None without limit.

        Closing the iterator takes the caller away; the request is aborted with its last caller.

        Raises:
            BackendError: see `backend.errors`.
        """

    def status(self) -> ServiceStatus:
        """A snapshot that never waits for the model."""


AnyModel = DiffusionModel[Any]
