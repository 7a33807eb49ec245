"""Compares a runtime's images with the reference's by PSNR, for the same seeds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from backend.engine.protocols import Pixels
from backend.model.batch import gather, scatter
from backend.model.checkpoint.architecture import Architecture
from backend.model.checkpoint.components import Components
from backend.model.noise_schedulers import NoiseSchedulers, timesteps_of
from backend.model.prompts.encoder import PromptEncoder
from backend.model.runtime.protocol import Runtime
from backend.model.trajectory import LatentTrajectory

PROMPTS = ("a red apple", "a green house under a blue sky", "a small dog")
GUIDANCE_SCALE = 5.0
STEPS = 8
FAST_STEP_S = 1.0  # if the reference's step is slower, a smaller comparison is used
LOWEST_DB = 35.0  # median; below, images differ visibly
EQUAL_DB = 99.0  # PSNR assigned to equal images, and the maximum


class Comparison(NamedTuple):
    """The images that every runtime generates."""

    prompts: tuple[str, ...]
    steps: int
    height: int  # in latent cells
    width: int


def choose_comparison(components: Components, reference: Runtime) -> Comparison:
    """Three images of native size; if the reference is slow, one of half the height and width."""
    architecture = components.architecture
    height, width = (side // architecture.vae_scale_factor for side in architecture.native_size)
    whole = Comparison(PROMPTS, STEPS, height, width)
    small = Comparison(PROMPTS[:1], STEPS // 2, max(8, height // 2), max(8, width // 2))
    started = time.perf_counter()
    draw(components, reference, small._replace(steps=1))
    step_s = (time.perf_counter() - started) * (height * width) / (small.height * small.width)
    return whole if step_s < FAST_STEP_S else small


@torch.inference_mode()
def draw(components: Components, runtime: Runtime, comparison: Comparison) -> list[Pixels]:
    """Generate one image per prompt with DDIM; the seed is the prompt's index.

    The noise is drawn in float32 for every dtype, so that only the computation differs.
    """
    architecture = components.architecture
    schedulers = NoiseSchedulers(architecture.scheduler_class, architecture.scheduler_config)
    prompts = PromptEncoder.plain(components.tokenizer, runtime)
    pictures = []
    for seed, prompt in enumerate(comparison.prompts):
        scheduler = schedulers.create("ddim", comparison.steps)
        generator = torch.Generator("cpu").manual_seed(seed)
        shape = (1, architecture.latent_channels, comparison.height, comparison.width)
        noise = torch.randn(shape, generator=generator).to(runtime.device, runtime.dtype)
        trajectory = LatentTrajectory(
            seed=seed,
            guidance_scale=GUIDANCE_SCALE,
            prompt_embeds=torch.cat([prompts.encode(""), prompts.encode(prompt)]),
            timesteps=timesteps_of(scheduler),
            adapters=(),
            noise_scheduler=scheduler,
            generator=generator,
            latents=noise * scheduler.init_noise_sigma,
            conditions=_nothing(architecture, noise),
        )
        for _ in range(trajectory.num_evaluations):
            _step(runtime, trajectory)
        image = runtime.decode(trajectory.latents / architecture.vae_scaling_factor)
        pictures.append(_pixels(image))
    return pictures


def median_psnr(pictures: Sequence[Pixels], references: Sequence[Pixels]) -> float:
    """Median PSNR over pairs of 8-bit images, in dB."""
    return statistics.median(
        psnr(picture, reference) for picture, reference in zip(pictures, references, strict=True)
    )


def psnr(picture: Pixels, reference: Pixels) -> float:
    """Peak signal-to-noise ratio of 8-bit pixels in dB, at most `EQUAL_DB`."""
    error = np.mean((picture.astype(np.float64) - reference.astype(np.float64)) ** 2)
    return EQUAL_DB if error == 0 else min(EQUAL_DB, float(10 * np.log10(255**2 / error)))


def _nothing(architecture: Architecture, noise: torch.Tensor) -> torch.Tensor | None:
    """Additional channels for an inpainting model; the values don't matter."""
    if not architecture.extra_channels:
        return None
    return torch.ones_like(noise[:, :1]).expand(-1, architecture.extra_channels, -1, -1)


def _step(runtime: Runtime, trajectory: LatentTrajectory) -> None:
    rows = gather([trajectory])
    predictions = runtime.denoise(rows.latents, rows.timesteps, rows.prompt_embeds)
    (prediction,) = scatter(predictions, [trajectory])
    trajectory.commit(trajectory.advance(rows.model_inputs[0], prediction))


def _pixels(image: torch.Tensor) -> Pixels:
    """[1, 3, height, width] in -1 to 1 to uint8 [height, width, 3]."""
    unit = (image[0].float() * 0.5 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    return (unit * 255).round().astype(np.uint8)
