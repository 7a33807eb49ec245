"""The timestep embedding's sines and cosines in a form that OpenVINO computes in float32.

In bfloat16, timestep 999 becomes 1000. diffusers' own layer can't be kept in float32: OpenVINO
replaces its first operation and drops the float32 annotation with it.
"""

from __future__ import annotations

import math

import torch
from diffusers.models.embeddings import Timesteps
from torch import nn

from backend.model.openvino.rewrites.replace import replace_modules

MAX_PERIOD = 10_000  # of the slowest sine, as in get_timestep_embedding


def keep_timesteps_precise(network: nn.Module) -> None:
    """Replace the `Timesteps` modules of a UNet, in place."""
    replace_modules(network, _precise)


def _precise(module: nn.Module) -> nn.Module:
    return PreciseTimesteps(module) if isinstance(module, Timesteps) else module


class PreciseTimesteps(nn.Module):
    """The same function as `timesteps`."""

    def __init__(self, timesteps: Timesteps) -> None:
        super().__init__()
        half = timesteps.num_channels // 2
        exponents = -math.log(MAX_PERIOD) * torch.arange(half, dtype=torch.float32)
        self.frequencies = torch.exp(exponents / (half - timesteps.downscale_freq_shift))
        self.scale = timesteps.scale
        self.is_cosine_first = timesteps.flip_sin_to_cos
        self.padding = timesteps.num_channels % 2

    def forward(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Timesteps [rows] to embeddings [rows, num_channels]."""
        angles = self.scale * (timesteps.reshape(-1, 1) * self.frequencies)
        sines, cosines = torch.sin(angles), torch.cos(angles)
        halves = (cosines, sines) if self.is_cosine_first else (sines, cosines)
        return nn.functional.pad(torch.cat(halves, dim=1), (0, self.padding))
