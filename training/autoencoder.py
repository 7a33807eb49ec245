"""Trains the small autoencoder: 128 x 128 pixels to 8 x 8 latents of 24 channels, and back.

It is diffusers' `AutoencoderTiny` and defines the latent space. The shipped autoencoder
(decoder.py) decodes the same latents to 256 x 256 pixels.
"""

import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from diffusers.models.autoencoders.vae import DecoderTiny, EncoderTiny
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock
from torch import Tensor, nn
from torch.nn import functional as F

from training import arithmetic
from training.checkpoints import Checkpoints
from training.latents import random_scenes
from training.muon import CombinedOptimizer, optimizers
from training.pictures import to_tensor
from training.schedule import Clock, Settings
from training.sketches import CHANNELS
from training.sprites import Sprites

log = logging.getLogger(__name__)

SIZE, FACTOR = 128, 16
"""Width and height of a picture in pixels, and pixels per latent in each direction."""
WIDTH = 48
"""Channels inside the encoder, and inside the decoder that it is trained with."""
BLOCKS = (4, 4, 3, 1, 0)
"""Of that decoder, at 8, 16, 32, 64 and 128 places a side: only where the picture is small, since
elsewhere a CPU pays for them in memory traffic."""
CROP = 64
"""Side in pixels of what one picture contributes."""
LATENT_NOISE = 0.05
"""Noise on the latents while training, so that what the denoiser leaves over does no harm."""


@dataclass(frozen=True)
class Weights:
    """Weights of the loss terms relative to the absolute error."""

    edges: float = 0.5
    coarse: float = 0.5
    squared: float = 0.0
    decibels: float = 0.0
    """Of every picture's own squared error in nepers, which is what PSNR averages: an easy
    picture's details then count as much as a hard one's."""


def build(width: int = WIDTH, blocks: tuple[int, ...] = BLOCKS) -> AutoencoderTiny:
    model = AutoencoderTiny(
        latent_channels=CHANNELS,
        encoder_block_out_channels=(width,) * 5,
        decoder_block_out_channels=(width,) * 5,
        num_encoder_blocks=(0, 0, 2, 2, 4),
        num_decoder_blocks=blocks,
        scaling_factor=1.0,
    )
    for half in (model.encoder, model.decoder):
        initialise(half.layers)
    return model


def initialise(layers: nn.Sequential) -> None:
    """Initialise bare convolutions to preserve variance, and blocks near the identity."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        elif isinstance(layer, AutoencoderTinyBlock):
            for conv in (part for part in layer.modules() if isinstance(part, nn.Conv2d)):
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            layer.conv[4].weight.data.mul_(0.1)


def crops(sprites: Sprites, batch: int, seed: int) -> Iterator[Tensor]:
    """Random crops of random scenes."""
    rng, room = random.Random(seed), (SIZE - CROP) // FACTOR
    while True:
        pictures = []
        for scene in random_scenes(sprites, batch, rng.randrange(2**31)):
            x, y = FACTOR * rng.randint(0, room), FACTOR * rng.randint(0, room)
            pictures.append(sprites.render(scene)[y : y + CROP, x : x + CROP])
        yield to_tensor(pictures)


def loss(restored: Tensor, images: Tensor, weights: Weights) -> Tensor:
    """Absolute error of pixels, gradients and coarse averages, plus some squared error."""
    error = restored.float() - images
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    coarse = F.avg_pool2d(error, 4).abs().mean()
    squares = error.square().mean(dim=(1, 2, 3))
    squared = weights.squared * squares.mean() + weights.decibels * squares.log().mean()
    return error.abs().mean() + weights.edges * edges + weights.coarse * coarse + squared


def through(
    encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor], images: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Encode and decode, half the time with mirrored latents, for equivariance.

    Returns what was restored, the pictures that it should be, and a penalty for large latents.
    """
    with arithmetic.fastest(images.device):
        latents = encode(images).float()
        prior = 1e-3 * latents.square().mean()
        if random.random() < 0.5:
            latents, images = latents.flip(-1), images.flip(-1)
        restored = decode(latents + LATENT_NOISE * torch.randn_like(latents))
    return restored.float(), images, prior


def _step(model: AutoencoderTiny, images: Tensor, weights: Weights) -> Tensor:
    """The loss of one batch."""
    restored, wanted, prior = through(model.encoder, model.decoder, images)
    return loss(restored, wanted, weights) + prior


def decibels(restored: Tensor, images: Tensor) -> Tensor:
    """PSNR in dB of each picture; values range from -1 to 1."""
    errors = ((restored.clamp(-1, 1) - images) / 2).square().mean(dim=(1, 2, 3))
    return -10 * errors.log10()


def train(
    model: AutoencoderTiny,
    sprites: Sprites,
    settings: Settings,
    weights: Weights,
    checkpoint: Path,
    device: torch.device = arithmetic.CPU,
) -> None:
    """Train encoder and decoder, resuming from the checkpoint if there is one."""
    model.to(device, memory_format=torch.channels_last)
    optimizer, clock = CombinedOptimizer(optimizers(model, settings.learning_rate)), Clock(settings)
    checkpoints = Checkpoints(
        checkpoint, {"model": model, "optimizer": optimizer, "clock": clock}, device
    )
    source = crops(sprites, settings.batch, clock.steps)
    while not clock.is_over():
        value = _step(model, next(source).to(device), weights)
        clock.step(optimizer, value, settings.batch)
        if clock.steps % 100 == 0:
            log.info("autoencoder %s loss %.4f", clock, value.item())
        checkpoints.save_sometimes()
    checkpoints.save()


def fold_normalisation(
    encoder: EncoderTiny, decoder: DecoderTiny, mean: Tensor, scale: Tensor
) -> None:
    """Standardise latents with the given mean and scale (c,), inside the outermost convolutions.

    Exact in the encoder. The decoder applies tanh to the latents before its first convolution, so
    it needs a little training afterwards.
    """
    last, first = encoder.layers[-1], decoder.layers[0]
    with torch.no_grad():
        last.bias.copy_((last.bias - mean) / scale)
        last.weight.div_(scale[:, None, None, None])
        first.bias.add_((first.weight * mean[None, :, None, None]).sum(dim=(1, 2, 3)))
        first.weight.mul_(scale[None, :, None, None])
