"""Latents from the denoiser, on which the decoder learns to correct its errors."""

import random

import torch
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from torch import Tensor

from training import arithmetic
from training.captions import Captions, Names
from training.latents import Encoded
from training.tokenizer import tokens_of
from training.unet import NOISE_SCHEDULE, Reader

STEPS, GUIDANCE = 12, 7.5
SKIPPED = (3, 10)
"""Least and most steps that are skipped: enough noise to draw anew, and enough of the picture left
that what its caption does not tell comes out as it was."""
BATCH = 32


def noise_scheduler() -> DPMSolverMultistepScheduler:
    """The shipped model's noise scheduler."""
    accepted = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")
    chosen = {name: NOISE_SCHEDULE[name] for name in (*accepted, "prediction_type", "steps_offset")}
    return DPMSolverMultistepScheduler(**chosen, timestep_spacing="trailing")


@torch.no_grad()
def denoised(
    unet: UNet2DConditionModel, reader: Reader, clean: Tensor, tokens: Tensor, skipped: int
) -> Tensor:
    """Add a step's noise to latents and denoise them from there, guided by their token ids."""
    scheduler = noise_scheduler()
    scheduler.set_timesteps(STEPS, device=reader.device)
    scheduler.set_begin_index(skipped)
    steps = scheduler.timesteps[skipped:]
    x: Tensor = scheduler.add_noise(clean, torch.randn_like(clean), steps[:1].expand(len(clean)))
    both = torch.cat([reader.untold.expand(len(clean), -1, -1), reader.read(tokens)])
    for step in steps:
        with arithmetic.fastest(reader.device):
            predicted = unet(torch.cat([x, x]), step, both).sample.float()
        without, told = predicted.chunk(2)
        x = scheduler.step(without + GUIDANCE * (told - without), step, x).prev_sample
    return x


def drawn_anew(
    unet: UNet2DConditionModel, reader: Reader, latents: Tensor, tokens: Tensor, batch: int
) -> Tensor:
    """The latents (n, c, 8, 8) drawn anew, each for its token ids; bfloat16."""
    rng, parts = random.Random(17), []
    for clean, told in zip(latents.split(batch), tokens.split(batch), strict=True):
        skipped = rng.randint(*SKIPPED)
        parts.append(denoised(unet, reader, clean.float(), told, skipped).bfloat16())
    return torch.cat(parts)


def draw_anew(
    unet: UNet2DConditionModel,
    reader: Reader,
    encoded: Encoded,
    names: list[Names],
    count: int,
) -> Encoded:
    """`count` of the scenes, with latents from the denoiser."""
    rng = random.Random(17)
    captions = Captions(names, rng)
    rows = rng.choices(range(len(encoded)), k=count)
    scenes = [encoded.scenes[row] for row in rows]
    tokens = tokens_of(reader.tokenizer, [captions(scene) for scene in scenes])
    return Encoded(scenes, drawn_anew(unet, reader, encoded.latents[rows], tokens, BATCH))
