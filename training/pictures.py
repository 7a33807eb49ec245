"""Converts pictures between arrays and tensors."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Pixels = npt.NDArray[np.uint8]
"""(height, width, channels)"""
Floats = npt.NDArray[np.float32]


def shown(pictures: Tensor) -> Tensor:
    """Pictures (n, h, w, 3) of bytes as (n, 3, h, w) with values from -1 to 1."""
    return pictures.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def to_tensor(pictures: list[Pixels]) -> Tensor:
    """Pictures (h, w, 3) as one tensor (n, 3, h, w) with values from -1 to 1."""
    stacked = torch.from_numpy(np.stack(pictures))
    return shown(stacked).contiguous(memory_format=torch.channels_last)


def to_pictures(images: Tensor) -> list[Pixels]:
    """The inverse of `to_tensor`, clipped."""
    pixels = images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return list(pixels.permute(0, 2, 3, 1).numpy())
