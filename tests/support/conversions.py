"""What OpenVINO's converter made of a network, kept for the next test that converts the same.

Processes of one test run share a folder: what two of them convert at once is the same.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from backend.model.openvino import convert


class Conversions:
    """Stands in for `convert._convert`: seconds the first time, a copy of two files after that."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self.really = convert._convert

    def __call__(self, network: nn.Module, inputs: Mapping[str, torch.Tensor], path: Path) -> None:
        kept = self._folder / f"{_digest(network, inputs)}.xml"
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                made = Path(folder) / kept.name
                self.really(network, inputs, made)
                for suffix in (".bin", ".xml"):
                    made.with_suffix(suffix).replace(kept.with_suffix(suffix))
        path.parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".bin", ".xml"):
            shutil.copyfile(kept.with_suffix(suffix), path.with_suffix(suffix))


def _digest(network: nn.Module, inputs: Mapping[str, torch.Tensor]) -> str:
    """Of the modules, their code's version, the weights and the shapes that are traced."""
    digest = hashlib.sha256(f"{convert.version()} {network}".encode())
    for name, weights in network.state_dict().items():
        digest.update(name.encode())
        digest.update(weights.contiguous().numpy().tobytes())
    for name, given in inputs.items():
        digest.update(f"{name} {tuple(given.shape)}".encode())
    return digest.hexdigest()
