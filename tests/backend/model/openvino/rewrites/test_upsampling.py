"""Fusing upsampling and convolution keeps the function, and happens only where possible."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderTiny
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.upsampling import Upsample2D
from torch import nn

from backend.model.openvino.rewrites.upsampling import fuse_upsampling, transposed
from tests.support.networks import rewritten, same

CHANNELS = (8, 16)


def count(network: nn.Module) -> int:
    """How many transposed convolutions are in it."""
    return sum(isinstance(module, nn.ConvTranspose2d) for module in network.modules())


@torch.inference_mode()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3)])
def test_a_transposed_convolution_is_both_up_to_the_edge(size: tuple[int, int], bias: bool) -> None:
    conv = nn.Conv2d(3, 5, 3, padding=1, bias=bias)
    image = torch.randn(2, 3, *size)
    doubled = nn.functional.interpolate(image, scale_factor=2.0, mode="nearest")
    same(transposed(conv)(image), conv(doubled))


def test_a_unet_predicts_the_same() -> None:
    assert count(rewritten(fuse_upsampling)) == 1


@torch.inference_mode()
def test_an_autoencoder_decodes_the_same() -> None:
    kind = "UpDecoderBlock2D"
    vae = AutoencoderKL(block_out_channels=CHANNELS, up_block_types=(kind, kind), norm_num_groups=4)
    latents = torch.randn(1, 4, 5, 3)
    before = vae.decode(latents).sample
    fuse_upsampling(vae.decoder)
    assert count(vae) == 1
    same(vae.decode(latents).sample, before)


@torch.inference_mode()
def test_a_tiny_autoencoder_decodes_the_same() -> None:
    vae = AutoencoderTiny().eval()
    latents = torch.randn(1, 4, 5, 3)
    before = vae.decode(latents).sample
    fuse_upsampling(vae.decoder)
    assert count(vae) == 3
    same(vae.decode(latents).sample, before)


@torch.inference_mode()
@pytest.mark.parametrize(
    "layers",
    [
        [nn.Upsample(scale_factor=2), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1)],
        [nn.Upsample(scale_factor=3), nn.Conv2d(3, 3, 3, padding=1)],
        [nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(3, 3, 3, padding=1)],
        [nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 3)],
        [nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 5, padding=2)],
        [nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 3, padding=1, groups=3)],
        [
            nn.Upsample(scale_factor=2),
            nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"),
        ],
        [Upsample2D(3)],
        [Upsample2D(3, use_conv=True, interpolate=False)],
    ],
    ids=lambda layers: str(len(layers)),
)
def test_anything_else_stays_as_it_is(layers: list[nn.Module]) -> None:
    network = nn.Sequential(*layers)
    image = torch.randn(1, 3, 4, 6)
    before = network(image)
    fuse_upsampling(network)
    assert count(network) == 0
    assert torch.equal(network(image), before)
