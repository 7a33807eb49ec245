"""Writes the shipped folder, which `StableDiffusionPipeline.from_pretrained` can load."""

import shutil
from pathlib import Path

from diffusers import AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTokenizer

from training.rough import noise_scheduler
from training.text_encoder import TextEncoder
from training.unet import with_text

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler", "training")


def pipeline(
    unet: UNet2DConditionModel,
    encoder: TextEncoder,
    vae: AutoencoderTiny,
    tokenizer: CLIPTokenizer,
) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=encoder.text_encoder,
        tokenizer=tokenizer,
        unet=with_text(unet, encoder),
        scheduler=noise_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save(pipe: StableDiffusionPipeline, folder: Path) -> None:
    """Save UNet and autoencoder in float16 and the text encoder in float32.

    diffusers loads float16 files as float32, but transformers would keep float16.
    """
    for part in PARTS:
        shutil.rmtree(folder / part, ignore_errors=True)
    pipe.unet.half()
    pipe.vae.half()
    pipe.save_pretrained(folder, safe_serialization=True)
    pipe.unet.float()
    pipe.vae.float()


def size_mb(folder: Path) -> float:
    """Total size of a folder's files in MB (10^6 bytes)."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
