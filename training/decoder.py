"""Trains the shipped autoencoder: 256 x 256 pixels with the small autoencoder's latents.

It has one level more than the small one, and in the decoder more channels and blocks, whose weights
learn details that the latents don't contain. The two finest levels have no blocks, so everything
after the last block is linear and cheap once the convolutions are merged.
"""

import logging
import random
from collections.abc import Iterator
from itertools import count, pairwise
from pathlib import Path
from typing import Protocol

import torch
from diffusers import AutoencoderTiny
from diffusers.models.autoencoders.vae import DecoderTiny
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock
from torch import Tensor, nn
from torch.nn import functional as F

from training import arithmetic, autoencoder
from training.autoencoder import Weights
from training.checkpoints import Checkpoints
from training.latents import Encoded, random_scenes
from training.muon import CombinedOptimizer, optimizers
from training.pictures import to_tensor
from training.schedule import Clock, Settings
from training.sketches import CHANNELS
from training.sprites import Sprites

log = logging.getLogger(__name__)

WIDTH = 96
BLOCKS = (8, 6, 4, 1, 0, 0)
"""At 8, 16, 32, 64, 128 and 256 places a side."""
WEIGHTS = Weights(decibels=0.1)
ROUGH = 0.5
"""Share of latents that are as the denoiser leaves them, once it has left some."""


def build(width: int = WIDTH, blocks: tuple[int, ...] = BLOCKS) -> AutoencoderTiny:
    model = AutoencoderTiny(
        latent_channels=CHANNELS,
        encoder_block_out_channels=(autoencoder.WIDTH,) * 6,
        decoder_block_out_channels=(width,) * 6,
        num_encoder_blocks=(0, 0, 0, 2, 2, 4),
        num_decoder_blocks=blocks,
        scaling_factor=1.0,
    )
    for half in (model.encoder, model.decoder):
        autoencoder.initialise(half.layers)
    return model


def _convolutions(layer: nn.Module) -> list[nn.Conv2d]:
    return [part for part in layer.modules() if isinstance(part, nn.Conv2d)]


def _levels(decoder: DecoderTiny) -> list[list[nn.Module]]:
    """The layers with weights: alternating lists of one bare convolution and of blocks."""
    levels: list[list[nn.Module]] = []
    for layer in decoder.layers:
        if isinstance(layer, nn.Conv2d):
            levels += [[layer], []]
        elif isinstance(layer, AutoencoderTinyBlock):
            levels[-1].append(layer)
    return levels


@torch.no_grad()
def start_from(model: AutoencoderTiny, small: AutoencoderTiny) -> None:
    """Initialise the decoder to give the smaller one's output, apart from the added level's blur.

    Where it is wider, every channel is duplicated, after Net2Net (Chen et al., 2015, arXiv
    1511.05641); weights on the two copies get opposite random offsets, which cancel while the
    copies are equal. Added blocks are initialised to add zero.
    """
    there, here = _levels(model.decoder), _levels(small.decoder)
    added = there.pop(-4)[0]  # the added level's convolution; that level has no blocks
    there.pop(-3)
    assert isinstance(added, nn.Conv2d)
    nn.init.dirac_(added.weight)
    for level, source_level in zip(there, here, strict=True):
        for layer, source in zip(level, source_level, strict=False):
            for conv, narrow in zip(_convolutions(layer), _convolutions(source), strict=True):
                _widen(conv, narrow)
        for layer in level[len(source_level) :]:
            for parameter in _convolutions(layer)[-1].parameters():
                parameter.zero_()


def _widen(conv: nn.Conv2d, source: nn.Conv2d) -> None:
    """Copy `source` to `conv`, repeating outputs and inputs where `conv` has twice as many."""
    outputs = conv.out_channels // source.out_channels
    weight = source.weight.repeat(outputs, 1, 1, 1)
    if conv.in_channels > source.in_channels:
        apart = weight.std() / 2 * torch.randn_like(weight)
        weight = torch.cat([weight / 2 + apart, weight / 2 - apart], dim=1)
    conv.weight.copy_(weight)
    if conv.bias is not None and source.bias is not None:
        conv.bias.copy_(source.bias.repeat(outputs))


def quickly(decoder: DecoderTiny, latents: Tensor) -> Tensor:
    """Decode latents with a third of the arithmetic.

    Upsampling and convolution become one transposed convolution, and the last two consecutive
    convolutions are merged: see backend/model/openvino/rewrites, which does the same to fixed
    weights; here gradients flow through.
    """
    x = 3 * torch.tanh(latents / 3)  # as in DecoderTiny
    layers = list(decoder.layers)
    x = layers[0](x)
    for layer, following in pairwise(layers[1:-2]):
        if isinstance(layer, nn.Upsample):
            x = _doubled(x, following.weight)
        elif not isinstance(layer, nn.Conv2d):
            x = layer(x)
    return _last(x, layers[-2], layers[-1]) * 2 - 1


def _doubled(x: Tensor, weight: Tensor) -> Tensor:
    """2x nearest upsampling followed by a 3x3 convolution."""
    turned = weight.flip(-1, -2).transpose(0, 1)
    corners = [F.pad(turned, (x, 1 - x, y, 1 - y)) for y in (0, 1) for x in (0, 1)]
    return F.conv_transpose2d(x, torch.stack(corners).sum(dim=0), stride=2, padding=1)


def _last(x: Tensor, first: nn.Conv2d, second: nn.Conv2d) -> Tensor:
    """2x nearest upsampling followed by two 3x3 convolutions."""
    shares = torch.einsum("obyx,bikl->oyxikl", second.weight, first.weight).flatten(0, 2)
    outputs, cells = second.out_channels, second.weight[0, 0].numel()
    window = torch.eye(cells, dtype=x.dtype, device=x.device).view(1, cells, *second.kernel_size)
    parts = _doubled(x, shares).unflatten(1, (outputs, cells)).flatten(0, 1)
    total = F.conv2d(parts, window, padding=1).view(len(x), outputs, *parts.shape[2:])
    return total + _bias(second)


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias.view(1, -1, 1, 1)


class Training:
    """Trains the decoder, resuming from its checkpoint."""

    def __init__(self, model: AutoencoderTiny, settings: Settings, checkpoint: Path) -> None:
        self.model, self.settings = model, settings
        self.device = next(model.parameters()).device
        model.to(memory_format=torch.channels_last)
        self.optimizer = CombinedOptimizer(optimizers(model.decoder, settings.learning_rate))
        self.clock = Clock(settings)
        self.checkpoints = Checkpoints(
            checkpoint,
            {"model": model, "optimizer": self.optimizer, "clock": self.clock},
            self.device,
        )

    def step(self, latents: Tensor, images: Tensor) -> Tensor:
        """Train on one batch; returns the PSNR in dB of its pictures before the step."""
        noisy = latents + autoencoder.LATENT_NOISE * torch.randn_like(latents)
        with arithmetic.fastest(self.device):
            restored = quickly(self.model.decoder, noisy).float()
        loss = autoencoder.loss(restored, images, WEIGHTS)
        self.clock.step(self.optimizer, loss, len(images))
        return autoencoder.decibels(restored.detach(), images).mean()

    def run(self, renderings: "Source") -> None:
        reached = torch.zeros((), device=self.device)
        batch = self.settings.batch
        self.clock.resume()
        for latents, images in renderings.batches(batch, self.clock.steps, self.device):
            if self.clock.is_over():
                break
            reached += (self.step(latents, images) - reached) / min(self.clock.steps, 100)
            if self.clock.steps % 50 == 0:
                log.info("decoder %s %.2f dB", self.clock, reached.item())
            self.checkpoints.save_sometimes()
        self.checkpoints.save()


class Source(Protocol):
    """Of endless batches of latents and target pictures."""

    def batches(
        self, batch: int, seed: int, device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]: ...


class Renderings:
    """Endless batches of latents (n, c, 8, 8) and target pictures (n, 3, 256, 256).

    The latents come from the encoder and from the denoiser.
    """

    def __init__(self, sprites: Sprites, clean: Encoded, rough: Encoded | None) -> None:
        self.sprites, self.clean, self.rough = sprites, clean, rough
        self.seed, self.batch = 0, 1

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rng = random.Random(f"{self.seed} 0")
        while True:
            is_rough = self.rough is not None and rng.random() < ROUGH
            source = self.rough if self.rough is not None and is_rough else self.clean
            rows = rng.choices(range(len(source)), k=self.batch)
            pictures = [self.sprites.render(source.scenes[row]) for row in rows]
            yield source.latents[rows].float(), to_tensor(pictures)

    def batches(
        self, batch: int, seed: int, device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        self.batch, self.seed = batch, seed
        return ((latents.to(device), images.to(device)) for latents, images in self)


def distil_encoder(
    model: AutoencoderTiny, small: AutoencoderTiny, pictures: Iterator[Tensor], settings: Settings
) -> None:
    """Train the encoder to give the small one's latents for pictures (n, 3, 256, 256)."""
    optimizer, clock = (
        CombinedOptimizer(optimizers(model.encoder, settings.learning_rate)),
        Clock(settings),
    )
    small.encoder.to(memory_format=torch.channels_last)
    while not clock.is_over():
        images = next(pictures)
        with torch.no_grad():
            aim = small.encoder(F.avg_pool2d(images, 2))
        with arithmetic.fastest(images.device):
            found = model.encoder(images).float()
        difference = F.mse_loss(found, aim)
        clock.step(optimizer, difference, settings.batch)
        if clock.steps % 50 == 0:
            log.info("encoder %s difference %.4f", clock, difference.item())


def random_pictures(sprites: Sprites, batch: int) -> Iterator[Tensor]:
    """Endless batches of renderings (n, 3, size, size)."""
    for seed in count():
        scenes = random_scenes(sprites, batch, seed)
        yield to_tensor([sprites.render(scene) for scene in scenes])
