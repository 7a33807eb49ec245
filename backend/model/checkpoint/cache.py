"""Caches facts about a checkpoint between starts, so that its weights need not be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import diffusers
import torch

from backend.disk_cache import DiskCache
from backend.model.checkpoint.architecture import Architecture
from backend.model.preview import PreviewProjector

FORMAT = "7"  # increase when a cached value is computed differently


@dataclass(frozen=True)
class _Projector:
    weight: list[list[list[list[float]]]]
    bias: list[float]


class CheckpointCache:
    """Architecture and preview projector of one revision of a checkpoint."""

    def __init__(self, data_dir: Path, revision: str) -> None:
        make = {"revision": revision, "diffusers": diffusers.__version__, "format": FORMAT}
        self.architecture = DiskCache(data_dir, "architecture", make, Architecture)
        self._projector = DiskCache(data_dir, "preview", make, _Projector)

    def load_projector(self) -> PreviewProjector | None:
        kept = self._projector.load()
        if kept is None:
            return None
        return PreviewProjector(torch.tensor(kept.weight), torch.tensor(kept.bias))

    def save_projector(self, projector: PreviewProjector) -> None:
        self._projector.save(_Projector(projector.weight.tolist(), projector.bias.tolist()))
