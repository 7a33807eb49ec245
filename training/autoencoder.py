"""The autoencoder: 128 x 128 pixels to 8 x 8 latents of 24 channels, and back.

`AutoencoderTiny` from diffusers, so that the shipped folder needs no code of ours. It trains in
two stages: first both halves, then, for the latents of the frozen encoder, the decoder alone goes
on, with more channels and blocks: its weights come to know details that the latents do not carry.
"""

import logging
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from diffusers.models.autoencoders.vae import DecoderTiny
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock
from torch import Tensor, nn
from torch.nn import functional as F

from training import arithmetic, paths
from training.clock import Clock, Schedule
from training.data import SIZE, Sprites, training_scene
from training.muon import Together, optimizers

log = logging.getLogger(__name__)

CHANNELS = 24
FACTOR = 16
"""Pixels per latent, in each direction."""
WIDTH = 48
"""Channels inside the encoder."""
LATENT_NOISE = 0.05
"""Noise on the latents while training, so that what the denoiser leaves over does no harm."""


@dataclass(frozen=True)
class Shape:
    """Of a decoder: channels, and blocks at 8, 16, 32, 64 and 128 places a side.

    Blocks only where the picture is small: elsewhere a CPU pays for them in memory traffic.
    """

    width: int
    blocks: tuple[int, ...]


THIN, SHIPPED = Shape(WIDTH, (4, 4, 3, 1, 0)), Shape(2 * WIDTH, (8, 6, 4, 1, 0))


@dataclass(frozen=True)
class Settings:
    minutes: float
    batch: int = 16
    crop: int = 64
    """Side in pixels of what one picture contributes; SIZE for whole pictures."""
    learning_rate: float = 2e-3
    decoder_only: bool = False
    level: float = 0.0
    """Share of the time before which the learning rate does not fall."""
    squared: float = 0.0
    """Weight of the squared error; the rest goes to sharp edges."""
    decibels: float = 0.0
    """Weight of every picture's own squared error in nepers, which is what PSNR averages: an easy
    picture's details then count as much as a hard one's."""


def build(decoder: Shape, width: int = WIDTH) -> AutoencoderTiny:
    model = AutoencoderTiny(
        latent_channels=CHANNELS,
        encoder_block_out_channels=(width,) * 5,
        decoder_block_out_channels=(decoder.width,) * 5,
        num_encoder_blocks=(0, 0, 2, 2, 4),
        num_decoder_blocks=decoder.blocks,
        scaling_factor=1.0,
    )
    for half in (model.encoder, model.decoder):
        _initialise(half.layers)
    return model


def _initialise(layers: nn.Sequential) -> None:
    """Keep the signal's size through the bare convolutions; start blocks near the identity."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        elif isinstance(layer, AutoencoderTinyBlock):
            for conv in _convolutions(layer):
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            layer.conv[4].weight.data.mul_(0.1)


def _convolutions(layer: nn.Module) -> list[nn.Conv2d]:
    return [part for part in layer.modules() if isinstance(part, nn.Conv2d)]


@torch.no_grad()
def widened(model: AutoencoderTiny, shape: Shape) -> AutoencoderTiny:
    """The same encoder and the same function of latents, in a decoder with room to learn more.

    Every channel is there twice, after Net2Net (Chen et al., 2015, arXiv 1511.05641); what a
    convolution makes of the two differs at random, in a way that cancels while they are equal.
    Added blocks add nothing at first.
    """
    wide = build(shape, model.config.encoder_block_out_channels[0])
    wide.encoder.load_state_dict(model.encoder.state_dict())
    for there, here in zip(_levels(wide.decoder), _levels(model.decoder), strict=True):
        for layer, source in zip(there, here, strict=False):
            for conv, narrow in zip(_convolutions(layer), _convolutions(source), strict=True):
                _double(conv, narrow)
        for added in there[len(here) :]:
            for parameter in _convolutions(added)[-1].parameters():
                parameter.zero_()
    return wide


def _levels(decoder: DecoderTiny) -> list[list[nn.Module]]:
    """The layers with weights, blocks and bare convolutions each in lists of their own."""
    levels: list[list[nn.Module]] = []
    for layer in decoder.layers:
        if isinstance(layer, nn.Conv2d):
            levels += [[layer], []]
        elif isinstance(layer, AutoencoderTinyBlock):
            levels[-1].append(layer)
    return levels


def _double(conv: nn.Conv2d, source: nn.Conv2d) -> None:
    """`conv` has the outputs of `source` twice where it has twice as many; so its inputs."""
    outputs = conv.out_channels // source.out_channels
    weight = source.weight.repeat(outputs, 1, 1, 1)
    if conv.in_channels > source.in_channels:
        apart = weight.std() / 2 * torch.randn_like(weight)
        weight = torch.cat([weight / 2 + apart, weight / 2 - apart], dim=1)
    conv.weight.copy_(weight)
    if conv.bias is not None and source.bias is not None:
        conv.bias.copy_(source.bias.repeat(outputs))


def to_tensor(pictures: list[np.ndarray]) -> Tensor:
    """Pictures (h, w, 3) of bytes as one tensor (n, 3, h, w) from -1 to 1."""
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return stacked.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)


def to_pictures(images: Tensor) -> list[np.ndarray]:
    """The inverse of `to_tensor`, clipped."""
    pixels = images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return list(pixels.permute(0, 2, 3, 1).numpy())


def batches(sprites: Sprites, settings: Settings, rng: random.Random) -> Iterator[Tensor]:
    """Random crops of random scenes, or whole ones."""
    room = SIZE - settings.crop
    while True:
        pictures = []
        for _ in range(settings.batch):
            scene = training_scene(rng.randrange(len(sprites.things)), sprites.things, rng)
            x, y = FACTOR * rng.randint(0, room // FACTOR), FACTOR * rng.randint(0, room // FACTOR)
            picture = sprites.render(scene)
            pictures.append(picture[y : y + settings.crop, x : x + settings.crop])
        yield to_tensor(pictures)


def loss(restored: Tensor, images: Tensor, settings: Settings) -> Tensor:
    """Absolute error of pixels, of their differences and of coarse averages; some squared error."""
    error = restored.float() - images
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    coarse = F.avg_pool2d(error, 4).abs().mean()
    squares = error.square().mean(dim=(1, 2, 3))
    squared = settings.squared * squares.mean() + settings.decibels * squares.log().mean()
    return error.abs().mean() + 0.5 * edges + 0.5 * coarse + squared


def _step(model: AutoencoderTiny, images: Tensor, settings: Settings) -> Tensor:
    """The loss of one batch; half the time through mirrored latents, so that they mirror too."""
    with arithmetic.fastest():
        with torch.set_grad_enabled(not settings.decoder_only):
            latents = model.encoder(images).float()
        prior = 1e-3 * latents.square().mean()
        if random.random() < 0.5:
            latents, images = latents.flip(-1), images.flip(-1)
        restored = model.decoder(latents + LATENT_NOISE * torch.randn_like(latents))
    total: Tensor = loss(restored, images, settings) + prior
    return total


def psnr(model: AutoencoderTiny, images: Tensor) -> float:
    """Peak signal to noise ratio in dB, mean over pictures from -1 to 1."""
    with torch.no_grad(), arithmetic.fastest():
        restored = model.decoder(model.encoder(images)).float()
    errors = ((restored.clamp(-1, 1) - images) / 2).square().mean(dim=(1, 2, 3))
    return float((-10 * errors.log10()).mean())


def train(model: AutoencoderTiny, sprites: Sprites, settings: Settings, checkpoint: Path) -> None:
    """Train for the time given, going on from the checkpoint where there is one."""
    model = model.to(memory_format=torch.channels_last)
    trained = model.decoder if settings.decoder_only else model
    optimizer = Together(optimizers(trained, settings.learning_rate))
    clock = Clock(Schedule(settings.minutes, settings.learning_rate, level=settings.level))
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        if "clock" in state:
            optimizer.load_state_dict(state["optimizer"])
            clock.load_state_dict(state["clock"])
    held = next(batches(sprites, Settings(0, 32, SIZE), random.Random(-1)))
    source = batches(sprites, settings, random.Random(clock.count))
    saved = time.monotonic()
    while not clock.is_over():
        value = _step(model, next(source), settings)
        clock.step(optimizer, value)
        if clock.count % 100 == 0:
            log.info(
                "autoencoder %d %.0f s loss %.4f psnr %.2f dB",
                clock.count,
                clock.elapsed,
                value.item(),
                psnr(model, held),
            )
        if time.monotonic() - saved > 120:
            saved = time.monotonic()
            _save(model, optimizer, clock, checkpoint)
    _save(model, optimizer, clock, checkpoint)


def _save(model: AutoencoderTiny, optimizer: Together, clock: Clock, checkpoint: Path) -> None:
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "clock": clock.state_dict(),
    }
    paths.save_atomically(state, checkpoint)
