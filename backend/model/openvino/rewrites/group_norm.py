"""Rewrites GroupNorm as sums and products, which OpenVINO fuses with neighbouring layers.

OpenVINO's own group normalisation transposes the values before and after, and runs scale, shift
and activation as separate passes.
"""

from __future__ import annotations

import torch
from torch import nn

from backend.model.openvino.rewrites.replace import replace_modules


def unfold_group_norms(network: nn.Module) -> None:
    """Replace every GroupNorm with affine parameters, in place."""
    replace_modules(network, _unfolded)


def _unfolded(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.GroupNorm) and module.affine:
        return UnfoldedGroupNorm(module)
    return module


class UnfoldedGroupNorm(nn.Module):
    """The same function as `norm`: takes means over each channel, then over a group's channels.

    After the first mean each channel is a single number, so the modules in here are cheap and can
    run in float32 while everything else runs in bfloat16.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.group_means = _GroupMeans(norm.num_groups)
        self.by_channel = _ByChannel(norm.num_groups, norm.num_channels)
        self.affine = _Affine(norm, self.by_channel)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Normalise values [rows, channels, ...] with at least one more dimension."""
        inner = tuple(range(2, values.ndim))
        means = self.group_means(values.mean(dim=inner))
        centred = values - _as_values(self.by_channel(means), values)
        variances = self.group_means((centred * centred).mean(dim=inner))
        scale, shift = self.affine(means, variances)
        return values * _as_values(scale, values) + _as_values(shift, values)


class _GroupMeans(nn.Module):
    def __init__(self, num_groups: int) -> None:
        super().__init__()
        self.num_groups = num_groups

    def forward(self, of_channels: torch.Tensor) -> torch.Tensor:
        """[rows, channels] to [rows, groups]."""
        rows, channels = of_channels.shape
        size = channels // self.num_groups
        return of_channels.reshape(rows, self.num_groups, size).mean(dim=2)


class _ByChannel(nn.Module):
    def __init__(self, num_groups: int, num_channels: int) -> None:
        super().__init__()
        self.group_of = torch.arange(num_channels) // (num_channels // num_groups)

    def forward(self, of_groups: torch.Tensor) -> torch.Tensor:
        """[rows, groups] to [rows, channels]."""
        return of_groups.index_select(1, self.group_of)


class _Affine(nn.Module):
    def __init__(self, norm: nn.GroupNorm, by_channel: _ByChannel) -> None:
        super().__init__()
        self.eps, self.weight, self.bias = norm.eps, norm.weight, norm.bias
        self.by_channel = by_channel

    def forward(
        self, means: torch.Tensor, variances: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and shift, both [rows, channels], that normalise values with these moments."""
        inverse = torch.rsqrt(variances + self.eps)
        shift = self.bias + self.by_channel(means * inverse) * -self.weight
        return self.by_channel(inverse) * self.weight, shift


def _as_values(by_channel: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """[rows, channels] to [rows, channels, 1, ...]."""
    return by_channel.reshape(*by_channel.shape, *[1] * (values.ndim - 2))
