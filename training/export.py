"""The shipped folder: what `StableDiffusionPipeline.from_pretrained` loads as it is."""

import shutil
from pathlib import Path

import torch
from diffusers import (
    AutoencoderTiny,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from transformers import CLIPTokenizer

from training.denoiser import NOISE_SCHEDULE, with_words
from training.words import Words


def fold_normalisation(vae: AutoencoderTiny, mean: Tensor, scale: Tensor) -> None:
    """Make latents of the given mean and scale (c,) standard, inside the outermost convolutions.

    Exact in the encoder. The decoder bends large latents (tanh) before its first convolution, so
    it must be trained a little afterwards.
    """
    last, first = vae.encoder.layers[-1], vae.decoder.layers[0]
    with torch.no_grad():
        last.bias.copy_((last.bias - mean) / scale)
        last.weight.div_(scale[:, None, None, None])
        first.bias.add_((first.weight * mean[None, :, None, None]).sum(dim=(1, 2, 3)))
        first.weight.mul_(scale[None, :, None, None])


def noise_scheduler() -> DPMSolverMultistepScheduler:
    return DPMSolverMultistepScheduler(
        **{k: v for k, v in NOISE_SCHEDULE.items() if k in _ACCEPTED}, timestep_spacing="trailing"
    )


_ACCEPTED = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "prediction_type",
    "steps_offset",
)


def pipeline(
    unet: UNet2DConditionModel, words: Words, vae: AutoencoderTiny, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=words.text_encoder,
        tokenizer=tokenizer,
        unet=with_words(unet, words),
        scheduler=noise_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save(pipe: StableDiffusionPipeline, folder: Path) -> None:
    """UNet and autoencoder in float16, the text encoder in float32.

    diffusers loads the former as float32; transformers would keep a float16 text encoder so.
    """
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        shutil.rmtree(folder / part, ignore_errors=True)
    pipe.unet.half()
    pipe.vae.half()
    pipe.save_pretrained(folder, safe_serialization=True)
    pipe.unet.float()
    pipe.vae.float()


def size_mb(folder: Path) -> float:
    """Megabytes (10^6 bytes) of the files of a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
