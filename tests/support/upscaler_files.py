"""Writes networks that enlarge pictures, with random weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

needs_spandrel = pytest.mark.skipif(
    importlib.util.find_spec("spandrel") is None, reason="the extra esrgan is not installed"
)


def write_compact(path: Path, scale: int = 2) -> Any:
    """A Real-ESRGAN Compact network with random weights, and its file."""
    from spandrel.architectures.Compact import Compact

    torch.manual_seed(0)
    network = Compact(num_feat=8, num_conv=1, upscale=scale).eval()
    save_file(network.state_dict(), path)
    return network


def write_rrdb(path: Path) -> Any:
    """An ESRGAN network with random weights, and its file."""
    from spandrel.architectures.ESRGAN import ESRGAN

    torch.manual_seed(0)
    network = ESRGAN(num_filters=8, num_blocks=1, scale=4).eval()
    save_file({n: t.contiguous() for n, t in network.state_dict().items()}, path)
    return network


def whole(network: Any, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    with torch.inference_mode():
        drawn = network(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)[0]
    rounded = (drawn.clamp(0, 1) * 255).round().to(torch.uint8)
    return np.asarray(rounded.permute(1, 2, 0))
