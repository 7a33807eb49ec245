"""Progress of a training stage, and the learning rate schedule."""

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from training.muon import CombinedOptimizer

GRADIENT_NORM = 1.0
"""Longer gradients are cut to this length."""


@dataclass(frozen=True)
class Settings:
    """Settings of a stage, counted in samples, so that a slow machine trains the same.

    On a GPU that is at hand for some minutes, `seconds` counts instead.
    """

    samples: int
    batch: int
    learning_rate: float
    rise: float = 0.02
    """Share of the samples over which the learning rate rises."""
    level: float = 0.4
    """Share of the samples before which it does not fall; from there to zero along a cosine."""
    seconds: float | None = None

    def lasting(self, seconds: float) -> "Settings":
        return replace(self, seconds=seconds)

    def rate(self, share: float) -> float:
        """The learning rate after this share (0 to 1) of the samples."""
        warm = min(1.0, share / self.rise + 0.02)
        falling = max(0.0, (share - self.level) / (1 - self.level))
        return self.learning_rate * warm * (1 + math.cos(math.pi * falling)) / 2


class Clock:
    """Counts samples and seconds of one stage over all its runs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.steps, self.samples, self.seconds = 0, 0, 0.0
        self._tick = time.monotonic()

    @property
    def share(self) -> float:
        if self.settings.seconds is not None:
            return min(1.0, self.seconds / self.settings.seconds)
        return min(1.0, self.samples / self.settings.samples)

    def resume(self) -> None:
        """Don't count the time since the last step."""
        self._tick = time.monotonic()

    def is_over(self) -> bool:
        return self.share >= 1

    def step(
        self, optimizer: torch.optim.Optimizer | CombinedOptimizer, loss: Tensor, batch: int
    ) -> None:
        """One optimizer step for `loss`, the mean over `batch` samples."""
        for group in optimizer.param_groups:
            group["lr"] = self.settings.rate(self.share)
        loss.backward()
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad()
        self.steps += 1
        self.samples += batch
        now = time.monotonic()
        self.seconds, self._tick = self.seconds + now - self._tick, now

    def __str__(self) -> str:
        return f"{self.samples} samples {self.seconds:.0f} s"

    def state_dict(self) -> dict[str, float]:
        return {"steps": self.steps, "samples": self.samples, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.steps, self.samples = int(state["steps"]), int(state["samples"])
        self.seconds = state["seconds"]
        self.resume()
