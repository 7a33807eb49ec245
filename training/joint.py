"""Trains the small encoder and the shipped decoder together, from 128 to 256 pixels.

So the latents hold what the decoder needs for the larger picture. Only a GPU is fast enough.
"""

import logging
from collections.abc import Iterator
from functools import partial

import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from training import autoencoder, decoder
from training.muon import CombinedOptimizer, optimizers
from training.resident import halved
from training.schedule import Clock, Settings

log = logging.getLogger(__name__)


def train(
    small: AutoencoderTiny,
    vae: AutoencoderTiny,
    pictures: Iterator[Tensor],
    settings: Settings,
) -> None:
    """Train `small.encoder` and `vae.decoder` on pictures (n, 3, 256, 256)."""
    for half in (small.encoder, vae.decoder):
        half.to(memory_format=torch.channels_last)
    both = nn.ModuleList([small.encoder, vae.decoder])
    optimizer, clock = CombinedOptimizer(optimizers(both, settings.learning_rate)), Clock(settings)
    while not clock.is_over():
        images = next(pictures).contiguous(memory_format=torch.channels_last)
        loss, reached = _step(small, vae, images)
        clock.step(optimizer, loss, len(images))
        if clock.steps % 50 == 0:
            log.info("encoder and decoder %s %.2f dB", clock, reached.item())


def _step(small: AutoencoderTiny, vae: AutoencoderTiny, images: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of one batch, and the PSNR in dB."""
    restored, wanted, prior = autoencoder.through(
        lambda images: small.encoder(halved(images)),
        partial(decoder.quickly, vae.decoder),
        images,
    )
    total = autoencoder.loss(restored, wanted, decoder.WEIGHTS) + prior
    return total, autoencoder.decibels(restored.detach(), wanted).mean()
