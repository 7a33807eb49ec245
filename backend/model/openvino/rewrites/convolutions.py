"""Replaces two consecutive convolutions by two cheaper ones with the same result.

The first produces many channels, the second reduces them to a few. Both are linear, so the first
can directly compute what each cell of the second's window contributes to each output, and the
second only sums these contributions.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import nn


def keeps_size(layer: object) -> TypeGuard[nn.Conv2d]:
    """Whether `layer` is a plain convolution with zero padding that keeps the size."""
    return (
        isinstance(layer, nn.Conv2d)
        and layer.padding == tuple((size - 1) / 2 for size in layer.kernel_size)
        and (layer.stride, layer.dilation, layer.groups) == ((1, 1), (1, 1), 1)
        and layer.padding_mode == "zeros"
    )


def merge_convolutions(network: nn.Module) -> None:
    """Merge consecutive convolutions of every Sequential if it saves channels, in place."""
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential):
            for index in range(len(module) - 1):
                first, second = module[index], module[index + 1]
                if (
                    keeps_size(first)
                    and keeps_size(second)
                    and _channels(second) < first.out_channels
                ):
                    module[index], module[index + 1] = merged(first, second)


def merged(first: nn.Conv2d, second: nn.Conv2d) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Two convolutions that together equal `first` followed by `second`.

    Args:
        first: weight [between, in, k, k], keeps the size.
        second: weight [out, between, kh, kw], keeps the size with zero padding.

    Returns:
        A convolution to out * kh * kw channels, one for each output and cell of the second's
        window; and one that sums them, each shifted by its cell. Zero padding of these channels
        is equivalent to zero padding of the original intermediate channels.
    """
    window: torch.Tensor = second.weight.detach().double()
    weight = torch.einsum("obyx,bikl->oyxikl", window, first.weight.detach().double())
    shares = nn.Conv2d(
        first.in_channels,
        _channels(second),
        first.kernel_size,  # type: ignore[arg-type]
        padding=first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    dtype = first.weight.dtype
    shares.weight = nn.Parameter(weight.flatten(0, 2).to(dtype))
    if first.bias is not None:
        bias = torch.einsum("obyx,b->oyx", window, first.bias.detach().double())
        shares.bias = nn.Parameter(bias.flatten().to(dtype))
    total = nn.Conv2d(
        _channels(second),
        second.out_channels,
        second.kernel_size,  # type: ignore[arg-type]
        padding=second.padding,  # type: ignore[arg-type]
        bias=second.bias is not None,
    )
    total.weight, total.bias = nn.Parameter(_adding_up(second).to(dtype)), second.bias
    return shares, total


def _adding_up(second: nn.Conv2d) -> torch.Tensor:
    """Weight [out, out * kh * kw, kh, kw] that reads each window cell from its own channel."""
    height, width = second.kernel_size
    outputs, cells = second.out_channels, height * width
    own = torch.eye(cells).reshape(cells, height, width)
    weight = torch.zeros(outputs, outputs, cells, height, width)
    weight[range(outputs), range(outputs)] = own
    return weight.flatten(1, 2)


def _channels(second: nn.Conv2d) -> int:
    return second.out_channels * second.kernel_size[0] * second.kernel_size[1]
