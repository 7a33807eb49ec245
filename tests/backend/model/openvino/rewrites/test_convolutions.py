"""Merging two convolutions keeps the function, and happens only where that is possible."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderTiny
from torch import nn

from backend.model.openvino.rewrites.convolutions import merge_convolutions, merged
from backend.model.openvino.rewrites.upsampling import fuse_upsampling
from tests.support.networks import same


@torch.inference_mode()
@pytest.mark.parametrize("biases", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3)])
@pytest.mark.parametrize(("one", "two"), [(3, 3), (1, 3), (3, 1), (5, 3)])
def test_both_amount_to_the_same_up_to_the_edge(
    one: int, two: int, size: tuple[int, int], biases: tuple[bool, bool]
) -> None:
    first = nn.Conv2d(4, 40, one, padding=one // 2, bias=biases[0])
    second = nn.Conv2d(40, 3, two, padding=two // 2, bias=biases[1])
    image = torch.randn(2, 4, *size)
    shares, total = merged(first, second)
    assert shares.out_channels == 3 * two * two
    same(total(shares(image)), second(first(image)))


@torch.inference_mode()
def test_three_in_a_row_are_merged_one_after_the_other() -> None:
    network = nn.Sequential(
        *(nn.Conv2d(n, m, 3, padding=1) for n, m in ((4, 300), (300, 30), (30, 3)))
    )
    image = torch.randn(1, 4, 5, 6)
    before = network(image)
    merge_convolutions(network)
    same(network(image), before)


@torch.inference_mode()
def test_a_tiny_autoencoder_decodes_the_same() -> None:
    vae = AutoencoderTiny(num_decoder_blocks=(1, 1, 1, 0)).eval()
    latents = torch.randn(1, 4, 5, 3)
    before = vae.decode(latents).sample
    merge_convolutions(vae.decoder)
    assert vae.decoder.layers[-2].out_channels == 27
    fuse_upsampling(vae.decoder)
    same(vae.decode(latents).sample, before)


@torch.inference_mode()
@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(3, 40, 3, padding=1), nn.ReLU(), nn.Conv2d(40, 3, 3, padding=1)],
        [nn.Conv2d(3, 27, 3, padding=1), nn.Conv2d(27, 3, 3, padding=1)],
        [nn.Conv2d(3, 40, 3), nn.Conv2d(40, 3, 3, padding=1)],
        [nn.Conv2d(3, 40, 3, padding=1), nn.Conv2d(40, 3, 3)],
        [nn.Conv2d(3, 40, 3, padding=1), nn.Conv2d(40, 3, 3, padding=1, stride=2)],
        [nn.Conv2d(3, 40, 3, padding="same"), nn.Conv2d(40, 3, 3, padding="same")],
        [nn.Conv2d(3, 42, 3, padding=1), nn.Conv2d(42, 3, 3, padding=1, groups=3)],
        [nn.Conv2d(3, 40, 3, padding=1), nn.Conv2d(40, 3, 3, padding=1, padding_mode="reflect")],
    ],
    ids=[
        "parted",
        "no fewer",
        "smaller",
        "smaller too",
        "strided",
        "named",
        "grouped",
        "reflected",
    ],
)
def test_anything_else_stays_as_it_is(layers: list[nn.Module]) -> None:
    network = nn.Sequential(*layers)
    image = torch.randn(1, 3, 4, 6)
    before = network(image)
    merge_convolutions(network)
    assert list(network) == layers
    assert torch.equal(network(image), before)
