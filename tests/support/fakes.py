"""A diffusion model without torch: scripted steps and failures, and a record of every batch."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backend.config import Settings
from backend.domain import Exactness, FinishedImage, GenerationWarning, Progress, Queued, Timings
from backend.draft import Draft
from backend.engine.cost import CostModel, Kind
from backend.engine.loading import Load, Loaded, OnProgress
from backend.engine.protocols import Picture, Pixels
from backend.engine.request import BatchKey, Request, predict_evaluations
from backend.errors import (
    BackendError,
    DeviceLost,
    InvalidParams,
    NonFiniteOutput,
    OutOfMemory,
    Violation,
)
from backend.params import GenerationParams, ModelInfo

SIZE = 64
TIMEOUT_S = 120.0
SCHEDULERS = ("ddim", "pndm", "heun", "lcm", "euler")
SECRET = "secret /etc/passwd"

INFO = ModelInfo(
    name="fake",
    source="/models/fake",
    revision="0123456789abcdef",
    num_parameters=1_000_000,
    native_height=SIZE,
    native_width=SIZE,
    size_multiple=8,
    default_scheduler="ddim",
    schedulers=SCHEDULERS,
    device="cpu",
    dtype="float32",
    runtime="fake",
    runtime_reason="the only one",
    num_text_layers=2,
)


@dataclass(eq=False)
class FakeTrajectory:
    """What FakeModel knows of one image."""

    params: GenerationParams
    index: int
    num_rows: int
    num_evaluations: int
    step_index: int = 0


class Gate:
    """Lets as many steps pass as it is told to, and tells how many have come to it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._allowed = 0
        self._is_open = False
        self._arrived = 0

    def pass_through(self) -> None:
        """Called before every step, on the engine's thread: wait for the permission."""
        with self._changed:
            self._arrived += 1
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._is_open or self._allowed > 0, TIMEOUT_S):
                raise TimeoutError("the gate was never opened")
            if not self._is_open:
                self._allowed -= 1

    def allow(self, steps: int = 1) -> None:
        """Let `steps` more steps pass."""
        with self._changed:
            self._allowed += steps
            self._changed.notify_all()

    def open(self) -> None:
        """Hold nobody up any more."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def wait_arrived(self, steps: int) -> None:
        """Return once `steps` steps have come to the gate since the start."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._arrived >= steps, TIMEOUT_S):
                raise TimeoutError(f"only {self._arrived} steps of {steps} came")


@dataclass
class FakeModel:
    """A `DiffusionModel`. What goes wrong is said by prompt; `batches` are the prompts per step.

    Attributes:
        gate: before every step, where one is given.
        fails_in: prompt to the places where it fails: encode, prepare, row, step, decode, preview,
            nan (decode finds values that are not numbers), lost (a step loses the device).
        oom_above: rows above which a step runs out of memory.
        nsfw: prompts whose pictures are flagged.
        pixels: what a picture looks like; by default one colour that follows from the request.
    """

    gate: Gate | None = None
    fails_in: Mapping[str, str] = field(default_factory=dict)
    oom_above: int = 1000
    nsfw: frozenset[str] = frozenset()
    pixels: Callable[[GenerationParams, int], Pixels] | None = None
    info: ModelInfo = INFO
    exactness: Exactness = Exactness.CERTIFIED
    batches: list[tuple[str, ...]] = field(default_factory=list)
    decoded: list[tuple[str, int]] = field(default_factory=list)
    prepared: list[tuple[str, int]] = field(default_factory=list)
    encoded: list[str] = field(default_factory=list)
    previewed: list[tuple[str, int]] = field(default_factory=list)
    readied: list[str] = field(default_factory=list)
    on_step: Callable[[], None] | None = None
    bound_to: list[threading.Thread] = field(default_factory=list)

    def check(self, params: GenerationParams) -> list[Violation]:
        if params.scheduler == "lcm" and params.num_inference_steps > 50:
            text = "lcm takes at most 50 steps with this model."
            return [Violation("num_inference_steps", text, "UNSUPPORTED")]
        return []

    def warnings(self, params: GenerationParams) -> tuple[GenerationWarning, ...]:
        if params.prompt != "cut":
            return ()
        return (GenerationWarning("prompt", "This was cut: “x”.", "PROMPT_CUT"),)

    def num_chunks(self, params: GenerationParams) -> int:
        return 1 + params.prompt.count("BREAK")

    def get_ready(self, params: GenerationParams) -> None:
        self.readied.append(params.prompt)
        if self.fails_in.get(params.prompt) == "ready":
            text = "It was made for another kind of model."
            raise InvalidParams((Violation("loras", text, "UNSUPPORTED"),))

    def bind(self) -> None:
        self.bound_to.append(threading.current_thread())

    def start_lap(self) -> None:
        """Its steps are done when they return."""

    def encode(self, params: GenerationParams) -> str:
        self.encoded.append(params.prompt)
        self._fail(params, "encode")
        return "encoded"

    def prepare(
        self, params: GenerationParams, index: int, source: str | None = None
    ) -> FakeTrajectory:
        assert (source is None) == (params.init_image is None)
        self.prepared.append((params.prompt, index))
        self._fail(params, "prepare")
        rows = 2 if params.do_classifier_free_guidance else 1
        return FakeTrajectory(params, index, rows, predict_evaluations(params))

    def denoise_step(self, trajectories: Sequence[FakeTrajectory]) -> list[Exception | None]:
        if self.gate is not None:
            self.gate.pass_through()
        if self.on_step is not None:
            self.on_step()
        self.batches.append(tuple(one.params.prompt for one in trajectories))
        if sum(one.num_rows for one in trajectories) > self.oom_above:
            raise OutOfMemory("The model ran out of memory while denoising.")
        for one in trajectories:
            self._fail(one.params, "step")
            if self.fails_in.get(one.params.prompt) == "lost":
                raise DeviceLost("CUDA error: device-side assert triggered")
        return [self._advance(one) for one in trajectories]

    def decode(self, trajectory: FakeTrajectory) -> Picture:
        assert trajectory.step_index == trajectory.num_evaluations
        params = trajectory.params
        self.decoded.append((params.prompt, trajectory.index))
        self._fail(params, "decode")
        if self.fails_in.get(params.prompt) == "nan":
            raise NonFiniteOutput("The model produced values that are not numbers.")
        if params.prompt in self.nsfw:
            return Picture(np.zeros((params.height, params.width, 3), np.uint8), True)
        paint = self.pixels or colour
        return Picture(paint(params, trajectory.index), False)

    def preview(self, trajectory: FakeTrajectory) -> Pixels:
        self._fail(trajectory.params, "preview")
        self.previewed.append((trajectory.params.prompt, trajectory.step_index))
        return np.full((8, 8, 3), trajectory.step_index, np.uint8)

    def _advance(self, trajectory: FakeTrajectory) -> Exception | None:
        if self.fails_in.get(trajectory.params.prompt) == "row":
            return ValueError(SECRET)
        trajectory.step_index += 1
        return None

    def _fail(self, params: GenerationParams, place: str) -> None:
        if self.fails_in.get(params.prompt) == place:
            raise ValueError(SECRET)


def colour(params: GenerationParams, index: int) -> Pixels:
    """One colour that follows from what decides over a picture."""
    deciding = (
        params.prompt,
        params.negative_prompt,
        params.guidance_scale,
        params.num_inference_steps,
        params.scheduler,
        params.seed + index,
        *([] if params.init_image is None else [params.init_image, params.mask, params.strength]),
    )
    rgb = hashlib.sha256(repr(deciding).encode()).digest()[:3]
    return np.full((params.height, params.width, 3), list(rgb), np.uint8)


def noise(params: GenerationParams, index: int) -> Pixels:
    """What compresses worst."""
    generator = np.random.default_rng(params.seed + index)
    return generator.integers(0, 256, (params.height, params.width, 3), np.uint8)


def fake_params(prompt: str = "a red apple", **changes: Any) -> GenerationParams:
    """Resolved parameters, three steps of DDIM unless `changes` say otherwise."""
    given: dict[str, Any] = {
        "height": SIZE,
        "width": SIZE,
        "guidance_scale": 7.5,
        "num_inference_steps": 3,
        "seed": 1,
        "scheduler": "ddim",
        "model": INFO.name,
    }
    return GenerationParams(prompt=prompt, **(given | changes))


def fake_request(
    prompt: str = "a red apple", *, id: str = "", client: str = "someone", **changes: Any
) -> Request:
    """A request that arrived at second 0."""
    return Request(id or prompt.replace(" ", "-"), client, fake_params(prompt, **changes), 0.0)


def fake_draft(prompt: str = "a red apple", *, request_id: str = "", **changes: Any) -> Draft:
    """A request as it comes, three steps unless `changes` say otherwise."""
    given: dict[str, Any] = {"num_inference_steps": 3, "seed": 1}
    name = request_id or "made-up"
    return Draft(request_id=name, is_named=bool(request_id), prompt=prompt, **(given | changes))


class FixedCosts(CostModel):
    """Costs that no measurement changes."""

    def observe(self, kind: Kind, key: BatchKey | None, rows: int, ms: float) -> None:
        """Look away."""


def wide_costs(max_rows: int = 16, size: int = SIZE) -> CostModel:
    """A step costs 1 ms whatever its rows, up to `max_rows`: all share what they can."""
    steps = {(size, size, rows): 1.0 for rows in range(1, max_rows + 1)}
    return FixedCosts(caps={(size, size): max_rows}, steps=steps)


def settings(**changes: Any) -> Settings:
    """Settings for a test: any free port, no HTTP, one thread (more wait for busy cores)."""
    return Settings(**({"port": 0, "http_port": 0, "num_threads": 1} | changes))


def loads(model: FakeModel, cost: CostModel | None = None) -> Load:
    """A loader that has `model` at hand."""

    def load(on_progress: OnProgress) -> Loaded:
        on_progress("Painting.")
        return Loaded(model, cost or wide_costs())

    return load


@dataclass
class RecordingObserver:
    """An observer of the engine that remembers everything."""

    queued: list[tuple[str, int]] = field(default_factory=list)
    progress: list[tuple[str, int]] = field(default_factory=list)
    steps: list[tuple[float, int]] = field(default_factory=list)
    previews: list[tuple[str, int]] = field(default_factory=list)
    pictures: list[tuple[str, int]] = field(default_factory=list)
    pixels: dict[tuple[str, int], Pixels] = field(default_factory=dict)
    timings: dict[str, Timings] = field(default_factory=dict)
    errors: dict[str, BackendError] = field(default_factory=dict)
    etas: list[float] = field(default_factory=list)

    def on_queued(self, request: Request, event: Queued) -> None:
        self.queued.append((request.id, event.position))

    def on_step(self, seconds: float, rows: int) -> None:
        self.steps.append((seconds, rows))

    def on_progress(self, request: Request, event: Progress, preview: Pixels | None) -> None:
        self.progress.append((request.id, event.step))
        self.etas.append(event.eta_ms)
        if preview is not None:
            self.previews.append((request.id, event.step))

    def on_image(self, request: Request, index: int, picture: Picture) -> None:
        self.pictures.append((request.id, index))
        self.pixels[request.id, index] = picture.pixels

    def on_finished(self, request: Request, timings: Timings) -> None:
        self.timings[request.id] = timings

    def on_failed(self, request: Request, error: BackendError) -> None:
        self.errors[request.id] = error

    def steps_of(self, request: Request) -> list[int]:
        return [step for name, step in self.progress if name == request.id]


def images_of(events: Iterable[object]) -> list[FinishedImage]:
    """The pictures among `events`, in the order of their seeds."""
    found = [event for event in events if isinstance(event, FinishedImage)]
    return sorted(found, key=lambda finished: finished.index)
