"""The interfaces between engine and model, and between transports and backend."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from backend.domain import Event, Exactness, GeneratedImage, GenerationWarning, ServiceStatus
from backend.draft import Draft
from backend.errors import Violation
from backend.params import GenerationParams, ModelInfo
from backend.upscale import Enlargement

Pixels = NDArray[np.uint8]  # [height, width, 3], RGB


class Picture:
    """A decoded image; a flagged one has black pixels and must not be sent.

    If the safety checker runs asynchronously, the first access to either property waits for it,
    so don't access them on the engine's thread.
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
    """A stopwatch on a device that may compute asynchronously."""

    @property
    def is_typical(self) -> bool:
        """False if the time includes one-off work (compiling, capturing) and is no measurement."""

    def stop(self) -> None:
        """Mark the end; the device may still be working."""

    def ms(self) -> float | None:
        """Milliseconds; None while the device has not reached the end mark."""


class Trajectory(Protocol):
    """The model's state of one image; this is the part that the engine reads."""

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
    """A model as the engine drives it. Called on the engine's thread only, unless stated."""

    exactness: Exactness

    @property
    def info(self) -> ModelInfo:
        """Public facts about the model; those about the runtime may change while it runs."""

    def check(self, params: GenerationParams) -> Sequence[Violation]:
        """Violations specific to this model, of parameters within the limits. Cheap; any thread.

        For example a noise scheduler that does not support this many steps.
        """

    def warnings(self, params: GenerationParams) -> tuple[GenerationWarning, ...]:
        """What the model can't fully follow in a valid request. Cheap; never raises."""

    def num_chunks(self, params: GenerationParams) -> int:
        """Number of chunks of the longer of both prompts. Cheap; any thread."""

    def get_ready(self, params: GenerationParams) -> None:
        """Do once what the request needs of the model: slow for adapters in new combinations.

        On any thread but the engine's.

        Raises:
            InvalidParams: an adapter doesn't fit the model.
            OutOfMemory: there is none for it.
        """

    def bind(self) -> None:
        """Called once on the engine's thread, before the methods below."""

    def start_lap(self) -> Lap | None:
        """Start timing on the model's device; None if its calls are synchronous."""

    def encode(self, params: GenerationParams) -> Any:
        """Encode the initial picture for `prepare`; the result is the same for every index.

        Raises:
            OutOfMemory: there is not enough memory.
        """

    def prepare(self, params: GenerationParams, index: int, source: Any = None) -> T:
        """Encode the prompts (cached) and draw the noise of image `index`, seed + index.

        `source` is the result of `encode` if the parameters have an init_image.
        """

    def denoise_step(self, trajectories: Sequence[T]) -> list[Exception | None]:
        """Advance every trajectory by one evaluation, all in one UNet call.

        Returns one entry per trajectory: None, or the error of that one alone.
        State is committed only after the UNet call succeeded.

        Raises:
            OutOfMemory: nothing was committed; try again with fewer.
        """

    def decode(self, trajectory: T) -> Picture:
        """Latents to pixels, safety checker included.

        Raises:
            NonFiniteOutput: the image contains NaN or infinity (it would be black).
        """

    def preview(self, trajectory: T) -> Pixels:
        """A small approximation of the final image at the current step."""


class Backend(Protocol):
    """What the transports call: an engine in this process, or a cluster of them.

    All methods are called on the event loop.
    """

    @property
    def is_ready(self) -> bool:
        """Whether a new request would be accepted now."""

    async def start(self) -> None:
        """Get ready to generate; returns once the state is READY or FAILED."""

    def drain(self) -> None:
        """Refuse new requests from now on; queued and running ones are finished."""

    async def stop(self) -> None:
        """Drop unfinished requests and let go of all resources."""

    def submit(
        self,
        draft: Draft,
        *,
        client: str,
        deadline_s: float | None,
    ) -> AsyncGenerator[Event, None]:
        """Queue a request, or join the one with the same id, and yield its events.

        Args:
            draft: the request; its request_id is scoped to `client`.
            client: the caller's identity, for fairness, quotas and request ids.
            deadline_s: seconds the caller will wait; None: no limit.

        Closing the iterator removes the caller; a request without callers is aborted.

        Raises:
            BackendError: see `backend.errors`.
        """

    async def upscale(self, wanted: Enlargement) -> GeneratedImage:
        """Enlarge a picture, beside the engine.

        Raises:
            InvalidParams: with every bad field.
        """

    def status(self) -> ServiceStatus:
        """A snapshot that never waits for the model."""


AnyModel = DiffusionModel[Any]
