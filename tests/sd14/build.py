"""Stable Diffusion 1.4 to the last layer, with random weights: as published, but for what it knows.

Settings are those of https://huggingface.co/CompVis/stable-diffusion-v1-4, and so are the names
of the weights: of the time of their publication, which the libraries translate when loading.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
)

from backend.model.checkpoint.components import LoadOptions
from backend.model.checkpoint.folder import read_folder
from backend.model.checkpoint.source import SD1
from tests.support.original_layout import to_original

NUM_PARAMETERS = {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480}
VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
}
VAE_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def build_sd14(folder: Path, *, variant: str | None = None) -> Path:
    """Write the model to `folder` in diffusers layout: float32, or as the fp16 variant."""
    dtype = torch.float16 if variant == "fp16" else torch.float32
    text = CLIPTextConfig.from_pretrained(SD1 / "text_encoder")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts: dict[str, Callable[[], Any]] = {
            "unet": lambda: UNet2DConditionModel.from_config(_config("unet", UNet2DConditionModel)),
            "vae": lambda: AutoencoderKL.from_config(_config("vae", AutoencoderKL)),
            "text_encoder": lambda: CLIPTextModel(text),
            "safety_checker": lambda: StableDiffusionSafetyChecker(
                CLIPConfig(projection_dim=768, vision_config=VISION)
            ),
        }
        for name, make in parts.items():  # one after the other: they need not fit side by side
            make().to(dtype).save_pretrained(folder / name, variant=variant)
    for name, rename in (
        ("vae", _vae_name),
        ("text_encoder", _text_encoder_name),
        ("safety_checker", _safety_checker_name),
    ):
        _rename(next((folder / name).glob("*.safetensors")), rename)
    CLIPImageProcessorPil().save_pretrained(folder / "feature_extractor")
    for name in ("tokenizer", "scheduler"):
        shutil.copytree(SD1 / name, folder / name)
    _write_index(folder)
    return folder


def build_single_file(folder: Path, path: Path) -> Path:
    """Write the model of `folder` to one file in the original layout, in float16."""
    components = read_folder(folder, LoadOptions(torch.device("cpu"), torch.float16))
    save_file(to_original(components), path)
    return path


def published_pipeline(folder: Path, dtype: torch.dtype, variant: str | None = None) -> Any:
    """diffusers' own pipeline over the folder, in the memory layout that ours uses."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, dtype=dtype, variant=variant, local_files_only=True
    )
    pipeline.unet.to(memory_format=torch.channels_last)
    pipeline.vae.to(memory_format=torch.channels_last)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _config(name: str, network_class: Any) -> Any:
    return network_class.load_config(SD1 / name, local_files_only=True)


def _write_index(folder: Path) -> None:
    pipeline = StableDiffusionPipeline(
        vae=None,
        text_encoder=None,
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        unet=None,
        scheduler=PNDMScheduler.from_pretrained(folder / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    index = dict(pipeline.config) | {
        "unet": ("diffusers", "UNet2DConditionModel"),
        "vae": ("diffusers", "AutoencoderKL"),
        "text_encoder": ("transformers", "CLIPTextModel"),
        "safety_checker": ("stable_diffusion", "StableDiffusionSafetyChecker"),
        "feature_extractor": ("transformers", "CLIPImageProcessor"),
        "requires_safety_checker": True,
    }
    pipeline.register_to_config(**index)
    pipeline.save_config(folder)


def _rename(path: Path, rename: Callable[[str], str]) -> None:
    weights = {rename(name): weight for name, weight in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})


def _vae_name(name: str) -> str:
    for new, old in VAE_ATTENTION.items():
        name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
    return name


def _text_encoder_name(name: str) -> str:
    return name if name.startswith("text_model.") else f"text_model.{name}"


def _safety_checker_name(name: str) -> str:
    if not name.startswith("vision_model.") or name.startswith("vision_model.vision_model."):
        return name
    return f"vision_model.{name}"
