"""Rewriting GroupNorm keeps the function, everywhere in a network."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from backend.model.openvino.rewrites.group_norm import UnfoldedGroupNorm, unfold_group_norms
from tests.support.networks import rewritten, same


@torch.inference_mode()
@pytest.mark.parametrize(
    ("shape", "groups"),
    [
        *itertools.product([(1, 12, 4, 6), (3, 12, 1, 7), (2, 12, 5)], [1, 4, 12]),
        *itertools.product([(3, 12, 1, 1)], [1, 4]),
    ],
)
def test_it_normalises_alike(shape: tuple[int, ...], groups: int) -> None:
    norm = nn.GroupNorm(groups, 12, eps=1e-6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    values = 3.0 + 5.0 * torch.randn(shape)
    found = UnfoldedGroupNorm(norm)(values)
    same(found, norm.double()(values.double()).float())


@torch.inference_mode()
def test_values_far_from_zero_keep_their_variance() -> None:
    norm = nn.GroupNorm(2, 4)
    values = 1000.0 + torch.randn(1, 4, 8, 8, dtype=torch.float64)
    expected = norm.double()(values)
    found = UnfoldedGroupNorm(norm.float())(values.float())
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-3)


def test_a_unet_predicts_the_same() -> None:
    unet = rewritten(unfold_group_norms)
    assert not any(isinstance(module, nn.GroupNorm) for module in unet.modules())


def test_a_norm_without_parameters_stays() -> None:
    network = nn.Sequential(nn.GroupNorm(2, 4, affine=False))
    unfold_group_norms(network)
    assert isinstance(network[0], nn.GroupNorm)
