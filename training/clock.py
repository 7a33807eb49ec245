"""How long a stage has trained, and what learning rate that makes."""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from training.muon import Together

GRADIENT_NORM = 1.0
"""Longer gradients are cut to this length."""


@dataclass(frozen=True)
class Schedule:
    """Up over the first part of the time, level for a while, then to zero along a cosine."""

    minutes: float
    learning_rate: float
    rise: float = 0.02
    level: float = 0.0
    """Share of the time before which the learning rate does not fall."""

    def at(self, share: float) -> float:
        """The learning rate when this share of the time, 0 to 1, is over."""
        warm = min(1.0, share / self.rise + 0.02)
        falling = max(0.0, (share - self.level) / (1 - self.level))
        return self.learning_rate * warm * (1 + math.cos(math.pi * falling)) / 2


class Clock:
    """The time of one stage, over all its runs; the time between two runs does not count."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.elapsed, self.count = 0.0, 0
        self._tick = time.monotonic()

    @property
    def share(self) -> float:
        return min(1.0, self.elapsed / (60 * self.schedule.minutes))

    def is_over(self) -> bool:
        return self.share >= 1

    def step(self, optimizer: torch.optim.Optimizer | Together, loss: Tensor) -> None:
        """One step down the gradient of `loss`."""
        for group in optimizer.param_groups:
            group["lr"] = self.schedule.at(self.share)
        loss.backward()
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad()
        self.count += 1
        now = time.monotonic()
        self.elapsed, self._tick = self.elapsed + now - self._tick, now

    def state_dict(self) -> dict[str, float]:
        return {"elapsed": self.elapsed, "count": self.count}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.elapsed, self.count = state["elapsed"], int(state["count"])
        self._tick = time.monotonic()
