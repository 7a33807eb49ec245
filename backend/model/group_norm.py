"""GroupNorm as sums and products, which OpenVINO fuses with what stands around them.

Its own normalisation wants an image's values group by group: it turns the memory round before and
after, and what scales, shifts and activates its result runs apart from it, pass after pass.
"""

from __future__ import annotations

import torch
from torch import nn


def unfold_group_norms(network: nn.Module) -> None:
    """Replace every GroupNorm with affine parameters, in place."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GroupNorm) and child.affine:
                setattr(parent, name, UnfoldedGroupNorm(child))


class UnfoldedGroupNorm(nn.Module):
    """The same function as `norm`: means over each channel first, then over a group's channels."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.num_groups, self.eps = norm.num_groups, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Values [rows, channels, ...] of any number of further dimensions, one at least."""
        centred = values - self._as_values(self._group_mean(values), values)
        variance = self._group_mean(centred * centred)
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return centred * self._as_values(scale, values) + self._as_values(self.bias[None], values)

    def _group_mean(self, values: torch.Tensor) -> torch.Tensor:
        """[rows, channels, ...] to [rows, channels], the same for all channels of a group."""
        rows, channels = values.shape[:2]
        means = values.mean(dim=tuple(range(2, values.ndim)))
        of_group = means.reshape(rows, self.num_groups, -1).mean(dim=2, keepdim=True)
        size = channels // self.num_groups
        return of_group.expand(-1, -1, size).reshape(rows, channels)

    @staticmethod
    def _as_values(by_channel: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """[rows, channels] to [rows, channels, 1, ...]."""
        return by_channel.reshape(*by_channel.shape, *[1] * (values.ndim - 2))
