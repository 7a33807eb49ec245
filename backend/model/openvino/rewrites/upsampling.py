"""Replaces 2x nearest upsampling followed by a 3x3 convolution with one transposed convolution.

After upsampling, the convolution multiplies each source cell 36 times (9 for each of its 4 copies).
With the weights summed beforehand 16 multiplications give the same result.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TypeGuard

import torch
from diffusers.models.upsampling import Upsample2D
from torch import nn

from backend.model.openvino.rewrites.convolutions import keeps_size


def fuse_upsampling(network: nn.Module) -> None:
    """Replace every 2x upsampling that is followed by a 3x3 convolution, in place.

    Afterwards these layers always double the size, so don't use this on a UNet that must
    upsample to explicit other sizes.
    """
    for module in list(network.modules()):
        if isinstance(module, Upsample2D):
            _fuse_block(module)
        elif isinstance(module, nn.Sequential):
            _fuse_neighbours(module)


def transposed(conv: nn.Conv2d) -> nn.ConvTranspose2d:
    """The transposed convolution equal to 2x nearest upsampling followed by `conv`.

    Args:
        conv: weight [out, in, 3, 3], padding 1.

    Returns:
        weight [in, out, 4, 4], stride 2, padding 1: the full convolution of the flipped 3x3
        weights with a 2x2 kernel of ones.
    """
    turned = conv.weight.detach().double().flip(-1, -2).transpose(0, 1)
    weight = torch.zeros(*turned.shape[:2], 4, 4, dtype=torch.float64)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight[:, :, row : row + 3, column : column + 3] += turned
    fused = nn.ConvTranspose2d(
        conv.in_channels, conv.out_channels, 4, stride=2, padding=1, bias=conv.bias is not None
    )
    fused.weight = nn.Parameter(weight.to(conv.weight.dtype))
    fused.bias = conv.bias
    return fused


def _fuse_block(block: Upsample2D) -> None:
    conv = getattr(block, "conv", None)
    if block.interpolate and _fits(conv):
        block.conv = transposed(conv)
        block.use_conv_transpose = True


def _fuse_neighbours(layers: nn.Sequential) -> None:
    for index, (layer, conv) in enumerate(pairwise(list(layers))):
        if _doubles(layer) and _fits(conv):
            layers[index], layers[index + 1] = nn.Identity(), transposed(conv)


def _doubles(layer: nn.Module) -> bool:
    return (
        isinstance(layer, nn.Upsample)
        and layer.mode == "nearest"
        and layer.scale_factor in (2, (2.0, 2.0))
    )


def _fits(layer: object) -> TypeGuard[nn.Conv2d]:
    return keeps_size(layer) and layer.kernel_size == (3, 3)
