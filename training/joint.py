"""Trains the small encoder and the shipped decoder together, from 128 to 256 pixels.

So the latents hold what the decoder needs for the larger picture. Only a GPU is fast enough.
"""

import logging
import random
from collections.abc import Iterator

import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from training import arithmetic, autoencoder, decoder
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
    """The loss of one batch, half of the time with mirrored latents, and the PSNR in dB."""
    with arithmetic.fastest(images.device):
        latents = small.encoder(halved(images)).float()
        prior = 1e-3 * latents.square().mean()
        if random.random() < 0.5:
            latents, images = latents.flip(-1), images.flip(-1)
        noise = autoencoder.LATENT_NOISE * torch.randn_like(latents)
        restored = decoder.quickly(vae.decoder, latents + noise).float()
    total = autoencoder.loss(restored, images, decoder.WEIGHTS) + prior
    return total, autoencoder.decibels(restored.detach(), images).mean()
