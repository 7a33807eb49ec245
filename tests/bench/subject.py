"""The model under test, loaded as the backend loads it, and what its parts take bare."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from backend.config import EMBEDDED_MODELS, Settings
from backend.domain import GenerationParams, Progress, Queued, Timings
from backend.engine.cost import CostModel
from backend.engine.engine import Engine
from backend.engine.protocols import Picture, Pixels
from backend.engine.request import Request
from backend.engine.scheduler import Scheduler
from backend.errors import BackendError
from backend.model.calibrate import cost_model
from backend.model.loader import load_model
from backend.model.pipeline import LatentDiffusion

DATA_DIR = Path(".data")


@dataclass
class Subject:
    """A loaded model and its calibrated costs."""

    model: LatentDiffusion
    cost: CostModel
    folder: str

    def params(
        self,
        number: int,
        steps: int = 20,
        guidance_scale: float = 5.0,
        scheduler: str = "ddim",
    ) -> GenerationParams:
        """A prompt of its own for every number, so that no text is encoded only once."""
        info = self.model.info
        return GenerationParams(
            prompt=f"a red apple and {number} pears",
            height=info.native_height,
            width=info.native_width,
            guidance_scale=guidance_scale,
            num_inference_steps=steps,
            seed=number,
            scheduler=scheduler,
            model=info.name,
        )

    def draw(self, params: GenerationParams) -> Pixels:
        """One picture, alone, without any engine."""
        trajectory = self.model.prepare(params, 0)
        for _ in range(trajectory.num_evaluations):
            (error,) = self.model.denoise_step([trajectory])
            if error is not None:
                raise error
        return self.model.decode(trajectory).pixels

    @torch.inference_mode()
    def bare(self, number: int, steps: int = 20) -> None:
        """The networks' calls of one guided picture, and nothing around them."""
        runtime, components = self.model.runtime, self.model.components
        factor = components.vae_scale_factor
        info = self.model.info
        tokens = torch.full((1, components.num_tokens), number % 50, dtype=torch.int64)
        embeds = runtime.encode(tokens).repeat(2, 1, 1)
        generator = torch.Generator().manual_seed(number)
        latents = torch.randn(
            2,
            components.latent_channels,
            info.native_height // factor,
            info.native_width // factor,
            generator=generator,
        ).to(runtime.dtype)
        for step in range(steps):
            runtime.denoise(latents, torch.full((2,), 999.0 - step), embeds)
        runtime.decode(latents[:1])


def load(folder: str | None, runtime: Literal["auto", "openvino"] = "auto") -> Subject:
    """The model in `folder`, or the embedded one."""
    settings = Settings(
        model=folder or "auto", runtime=runtime, safety_checker=False, data_dir=DATA_DIR
    )
    model = load_model(settings, lambda text: print(f"  {text}", flush=True))
    cost = cost_model(model, settings, lambda text: print(f"  {text}", flush=True))
    wait_for_caps(cost)
    return Subject(model, cost, folder or str(EMBEDDED_MODELS))


def wait_for_caps(cost: CostModel, seconds: float = 60.0) -> None:
    """Until the background compiler is through: the caps no longer rise."""
    until, seen = time.monotonic() + seconds, None
    while time.monotonic() < until:
        if cost.caps == seen:
            return
        seen = dict(cost.caps)
        time.sleep(5.0)


class Listener:
    """An engine's observer that keeps pictures and ends."""

    def __init__(self) -> None:
        self.pixels: dict[Request, Pixels] = {}
        self.ended_s: dict[Request, float] = {}
        self.errors: list[BackendError] = []

    def queued(self, request: Request, event: Queued) -> None: ...

    def progressed(self, request: Request, event: Progress, preview: Pixels | None) -> None: ...

    def pictured(self, request: Request, index: int, picture: Picture) -> None:
        self.pixels[request] = picture.pixels

    def finished(self, request: Request, timings: Timings) -> None:
        self.ended_s[request] = time.monotonic()

    def failed(self, request: Request, error: BackendError) -> None:
        self.errors.append(error)


def engine(subject: Subject) -> tuple[Engine, Listener]:
    """A fresh engine around the subject, and who listens to it."""
    listener = Listener()
    scheduler = Scheduler(subject.cost, max_queue=100_000)
    return Engine(subject.model, scheduler, subject.cost, listener), listener


def run_trace(subject: Subject, trace: Sequence[Request]) -> list[float]:
    """Latencies in s, from the scheduled arrival, through our engine; arrivals in s from 0."""
    driver, listener = engine(subject)
    start = time.monotonic()
    planned = {}
    waiting = sorted(trace, key=lambda request: request.arrived_s)
    for request in waiting:
        planned[request] = request.arrived_s = start + request.arrived_s
    position = 0
    while position < len(waiting) or len(listener.ended_s) < len(trace):
        while position < len(waiting) and waiting[position].arrived_s <= time.monotonic():
            driver.add(waiting[position])
            position += 1
        if not driver.step() and position < len(waiting):
            time.sleep(max(0.0, waiting[position].arrived_s - time.monotonic()))
        if listener.errors:
            raise listener.errors[0]
    return [listener.ended_s[request] - planned[request] for request in trace]


def run_fifo(subject: Subject, trace: Sequence[Request]) -> list[float]:
    """The same arrivals, one pipeline behind a lock, on the same runtime."""
    start, latencies = time.monotonic(), []
    for request in trace:
        due = start + request.arrived_s
        time.sleep(max(0.0, due - time.monotonic()))
        subject.draw(request.params)
        latencies.append(time.monotonic() - due)
    return latencies
