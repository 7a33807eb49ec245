"""What the stages of the check share: figures with expectations, device and models."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from backend.config import EMBEDDED_MODELS, Settings
from backend.model.checkpoint.source import embedded_model
from backend.model.lap import wait_for
from backend.model.loader import load_model
from backend.model.pipeline import LatentDiffusion
from backend.params import GenerationParams

ROWS = (1, 2, 4, 8, 12, 16, 24, 32)


class Found(NamedTuple):
    """One figure, its expected value, and whether it was met (None: only informative)."""

    what: str
    value: Any
    expected: str = ""
    ok: bool | None = None


Stage = Callable[["Bench"], Iterator[Found]]


@dataclass
class Bench:
    """What the stages share: a device, two models, and how much to measure."""

    scratch: Path
    device: str = "auto"
    embedded: Path | None = None
    large: Path | None = None  # with Stable Diffusion 1.4's architecture; built if not given
    steps: int = 20
    rows: tuple[int, ...] = ROWS
    repeats: int = 5
    callers: tuple[int, ...] = (1, 4, 16)
    compiles: bool = True
    _models: dict[str, LatentDiffusion] = field(default_factory=dict)

    def settings(self, **changes: Any) -> Settings:
        given: dict[str, Any] = {
            "device": self.device,
            "runtime": "torch",
            "data_dir": self.scratch,
            "safety_checker": False,
        }
        return Settings(**(given | changes))

    @property
    def embedded_folder(self) -> Path:
        return self.embedded or embedded_model(EMBEDDED_MODELS)

    def load(self, folder: Path, **changes: Any) -> LatentDiffusion:
        return load_model(self.settings(model=str(folder), **changes), lambda _: None)

    def embedded_model(self) -> LatentDiffusion:
        """The embedded model on the device, loaded once."""
        return self._kept("embedded", lambda: self.load(self.embedded_folder))

    def large_model(self) -> LatentDiffusion:
        """The large model on the device, loaded once, without safety checker."""
        return self._kept("large", lambda: self.load(self.large_folder()))

    def large_folder(self) -> Path:
        if self.large is None:
            from tests.sd14.build import build_sd14

            self.large = build_sd14(self.scratch / "sd14", variant="fp16")
        return self.large

    def _kept(self, name: str, load: Callable[[], LatentDiffusion]) -> LatentDiffusion:
        if name not in self._models:
            self._models[name] = load()
        return self._models[name]

    def forget(self) -> None:
        """Release the models."""
        self._models.clear()

    def params(self, model: LatentDiffusion, number: int, **changes: Any) -> GenerationParams:
        info = model.info
        given: dict[str, Any] = {
            "prompt": f"a red apple on table number {number}",
            "height": info.native_height,
            "width": info.native_width,
            "guidance_scale": 7.5,
            "num_inference_steps": self.steps,
            "seed": number,
            "scheduler": "ddim",
            "model": info.name,
        }
        return GenerationParams(**(given | changes))


def draw(
    model: LatentDiffusion, params: GenerationParams, noise: torch.Tensor | None = None
) -> Any:
    """One picture alone, as 8-bit pixels; from this noise instead of the seed's, if given."""
    trajectory = model.prepare(params, 0)
    if noise is not None:
        trajectory.latents = noise.to(trajectory.latents)
    for _ in range(trajectory.num_evaluations):
        (error,) = model.denoise_step([trajectory])
        if error is not None:
            raise error
    return model.decode(trajectory).pixels


def timed_ms(act: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The minimum of `repeats` including the device's work, after one run for warm-up."""
    act()
    wait_for(device)
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        act()
        wait_for(device)
        found.append((time.perf_counter() - started) * 1000)
    return min(found)
