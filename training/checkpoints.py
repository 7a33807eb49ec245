"""Checkpoints from which a stage resumes."""

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
    """Saves the parts of a stage; loads them on construction if the file exists.

    A recovered checkpoint contains only "model"; the other parts start fresh.
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
