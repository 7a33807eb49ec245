"""The model under test, loaded like in the backend, and the time of its bare networks."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from backend.config import EMBEDDED_MODELS, Settings
from backend.domain import Progress, Queued, Timings
from backend.engine.cost import CostModel
from backend.engine.engine import Engine
from backend.engine.loading import NOW
from backend.engine.protocols import Picture, Pixels
from backend.engine.request import Request
from backend.engine.scheduler import Scheduler
from backend.errors import BackendError
from backend.model.lap import wait_for
from backend.model.loader import load_model
from backend.model.measure.costs import Costs
from backend.model.measure.subject import ModelSubject
from backend.model.pipeline import LatentDiffusion
from backend.params import GenerationParams
from bench.prompts import prompt

DATA_DIR = Path(".data")


@dataclass
class Subject:
    """A loaded model and its calibrated costs."""

    model: LatentDiffusion
    cost: CostModel
    folder: str
    height: int
    width: int

    def params(
        self,
        number: int,
        steps: int = 20,
        guidance_scale: float = 5.0,
        scheduler: str = "ddim",
    ) -> GenerationParams:
        """Parameters with a different prompt for every number."""
        info = self.model.info
        return GenerationParams(
            prompt=prompt(number),
            height=self.height,
            width=self.width,
            guidance_scale=guidance_scale,
            num_inference_steps=steps,
            seed=number,
            scheduler=scheduler,
            model=info.name,
        )

    def draw(self, params: GenerationParams) -> Pixels:
        """Generate one picture without an engine."""
        trajectory = self.model.prepare(params, 0)
        for _ in range(trajectory.num_evaluations):
            (error,) = self.model.denoise_step([trajectory])
            if error is not None:
                raise error
        return self.model.decode(trajectory).pixels

    @torch.inference_mode()
    def probe_ms(self, repeats: int = 15) -> float:
        """Median time of a bare UNet call with two rows: the machine's current speed."""
        bare = ModelSubject(self.model.components, self.model.runtime, NOW)
        return statistics.median(bare.step(self.height, self.width, 2) for _ in range(repeats))

    @torch.inference_mode()
    def bare(self, number: int, steps: int = 20) -> None:
        """Only the network calls of one guided picture."""
        runtime, components = self.model.runtime, self.model.components
        factor = components.architecture.vae_scale_factor
        tokens = torch.full((1, components.num_tokens), number % 50, dtype=torch.int64)
        embeds = runtime.encode(tokens).repeat(2, 1, 1)
        generator = torch.Generator().manual_seed(number)
        latents = torch.randn(
            2,
            components.architecture.unet_channels,
            self.height // factor,
            self.width // factor,
            generator=generator,
        ).to(runtime.device, runtime.dtype)
        for step in range(steps):
            runtime.denoise(latents, torch.full((2,), 999.0 - step), embeds)
        channels = components.architecture.latent_channels
        wait_for(runtime.decode(latents[:1, :channels]).device)


def load(folder: str | None) -> Subject:
    """The model in `folder` or the embedded one, with the backend's default settings."""
    settings = Settings(model=folder or "auto", safety_checker=False, data_dir=DATA_DIR)
    model = load_model(settings, _tell)
    _tell("Calibrating")
    costs = Costs(model, settings)
    costs.calibrate(NOW)
    size = model.info.native_height, model.info.native_width
    return Subject(model, costs.model, folder or str(EMBEDDED_MODELS), *size)


def load_alone(folder: str, size: int) -> Subject:
    """The model in `folder` in OpenVINO, uncalibrated, for square pictures one at a time."""
    settings = Settings(model=folder, runtime="openvino", safety_checker=False, data_dir=DATA_DIR)
    return Subject(load_model(settings, _tell), CostModel(), folder, size, size)


def _tell(text: str) -> None:
    print(f"  {text}", flush=True)


class Listener:
    """An observer of the engine that records images, end times and errors."""

    def __init__(self) -> None:
        self.pixels: dict[Request, Pixels] = {}
        self.ended_s: dict[Request, float] = {}
        self.errors: list[BackendError] = []

    def on_queued(self, request: Request, event: Queued) -> None: ...

    def on_progress(self, request: Request, event: Progress, preview: Pixels | None) -> None: ...

    def on_step(self, seconds: float, rows: int) -> None: ...

    def on_image(self, request: Request, index: int, picture: Picture) -> None:
        self.pixels[request] = picture.pixels

    def on_finished(self, request: Request, timings: Timings) -> None:
        self.ended_s[request] = time.perf_counter()

    def on_failed(self, request: Request, error: BackendError) -> None:
        self.errors.append(error)


def engine(subject: Subject) -> tuple[Engine, Listener]:
    """A new engine with the subject's model, and its listener."""
    listener = Listener()
    scheduler = Scheduler(subject.cost, max_queue=100_000)
    return Engine(subject.model, scheduler, subject.cost, listener), listener
