"""What a start finds out about a checkpoint, kept on disk: the next one need not look again."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import diffusers
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from backend.disk_cache import write_whole
from backend.model.checkpoint.architecture import Architecture
from backend.model.preview import PreviewProjector

logger = logging.getLogger(__name__)

FORMAT = 1  # raised when any of it is found in another way


class Findings:
    """One folder per revision of a checkpoint; what can't be read there is found out anew."""

    def __init__(self, data_dir: Path, revision: str) -> None:
        self._folder = data_dir / "models" / f"{revision}-{diffusers.__version__}-{FORMAT}"

    def architecture(self) -> Architecture | None:
        """As kept; None where it is not known."""
        try:
            kept = json.loads((self._folder / "architecture.json").read_text(encoding="utf-8"))
            height, width = kept["native_size"]
            return Architecture(**kept | {"native_size": (int(height), int(width))})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep_architecture(self, architecture: Architecture) -> None:
        kept = asdict(architecture)
        self._keep(
            "architecture.json",
            lambda path: path.write_text(json.dumps(kept, indent=1), encoding="utf-8"),
        )

    def projector(self) -> PreviewProjector | None:
        """As kept; None where none was fitted."""
        try:
            kept = load_file(self._folder / "preview.safetensors")
            return PreviewProjector(kept["weight"], kept["bias"])
        except (OSError, KeyError, SafetensorError):
            return None

    def keep_projector(self, projector: PreviewProjector) -> None:
        tensors: dict[str, torch.Tensor] = {"weight": projector.weight, "bias": projector.bias}
        self._keep("preview.safetensors", lambda path: save_file(tensors, path))

    def _keep(self, name: str, write: Callable[[Path], object]) -> None:
        """Whole or not at all: what a full disk or JSON does not take is found out again."""
        try:
            write_whole(self._folder / name, write)
        except (OSError, TypeError, SafetensorError) as error:
            logger.warning("what was found out about the model can't be kept: %s", error)
