"""What a stage keeps of its state, so that it goes on where it stopped."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from training import paths

EVERY = 180
"""Seconds between two checkpoints."""
MODEL = "model"


class Stateful(Protocol):
    def state_dict(self) -> Any: ...
    @property
    def load_state_dict(self) -> Callable[[Any], Any]: ...


class Checkpoints:
    """Of the parts of a stage, loaded at once where the file is there.

    Recovered weights come as "model" alone: the other parts start afresh.
    """

    def __init__(self, file: Path, parts: dict[str, Stateful], device: torch.device) -> None:
        self.file, self.parts, self._saved = file, parts, time.monotonic()
        if file.exists():
            state = torch.load(file, weights_only=True, map_location=device)
            for name, part in parts.items():
                if name in state:
                    part.load_state_dict(state[name])

    def save_sometimes(self) -> None:
        if time.monotonic() - self._saved > EVERY:
            self.save()

    def save(self) -> None:
        paths.save_atomically({k: part.state_dict() for k, part in self.parts.items()}, self.file)
        self._saved = time.monotonic()


def weights(file: Path) -> dict[str, torch.Tensor]:
    """The model's weights in a checkpoint."""
    found: dict[str, torch.Tensor] = torch.load(file, weights_only=True, map_location="cpu")[MODEL]
    return found
