"""Two convolutions with nothing between them, as the smaller ones that they amount to.

The first makes many channels, the second sums them to a few, over its window. Both are linear, so
the first can make what each cell of the window adds to each output, and the second only adds up.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import nn


def keeps_size(layer: object) -> TypeGuard[nn.Conv2d]:
    """Whether it is a plain convolution, padded with zeros so that the size stays."""
    return (
        isinstance(layer, nn.Conv2d)
        and layer.padding == tuple((size - 1) / 2 for size in layer.kernel_size)
        and (layer.stride, layer.dilation, layer.groups) == ((1, 1), (1, 1), 1)
        and layer.padding_mode == "zeros"
    )


def merge_convolutions(network: nn.Module) -> None:
    """Replace neighbours in a Sequential where that takes fewer channels, in place."""
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
    """What `first` and then `second` amount to.

    Args:
        first: weight [between, in, k, k], size kept.
        second: weight [out, between, kh, kw], size kept, beyond its edge nothing but zeros.

    Returns:
        A convolution to out * kh * kw channels, one for each output and cell of the second
        window; and one that adds them up, shifted by their cells. Beyond the edge they are zero
        as the channels between would be.
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
    """[out, out * kh * kw, kh, kw]: each cell of an output's window takes its own channel."""
    height, width = second.kernel_size
    outputs, cells = second.out_channels, height * width
    own = torch.eye(cells).reshape(cells, height, width)
    weight = torch.zeros(outputs, outputs, cells, height, width)
    weight[range(outputs), range(outputs)] = own
    return weight.flatten(1, 2)


def _channels(second: nn.Conv2d) -> int:
    return second.out_channels * second.kernel_size[0] * second.kernel_size[1]
