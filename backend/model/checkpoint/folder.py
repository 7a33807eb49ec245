"""Reads a checkpoint folder in diffusers layout, and refuses what is not whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPImageProcessorPil, CLIPTextModel, CLIPTokenizer

from backend.errors import ModelFailed
from backend.model.checkpoint.architecture import describe
from backend.model.checkpoint.components import Components, Networks, Reading
from backend.model.checkpoint.model_index import expect, names_safety_checker, read_index
from backend.model.noise_schedulers import RECIPES

AUTOENCODERS = ("AutoencoderKL", "AutoencoderTiny")
HALF_PRECISION_VARIANT = "fp16"


def read_folder(folder: Path, reading: Reading) -> Components:
    """Load every part of a folder in diffusers layout; touches no network.

    Raises:
        ModelFailed: something is missing, broken, or of a kind that isn't supported.
    """
    index = read_index(folder)
    expect(index, "unet", ("UNet2DConditionModel",))
    expect(index, "text_encoder", ("CLIPTextModel",))
    vae_class = expect(index, "vae", AUTOENCODERS)
    scheduler_class = expect(
        index, "scheduler", tuple({recipe.class_name for recipe in RECIPES.values()})
    )
    checked = reading.safety_checker and names_safety_checker(index)
    checker, feature_extractor = read_safety_checker(folder, reading) if checked else (None, None)
    return assemble(
        reading,
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        text_encoder=_network(CLIPTextModel, folder / "text_encoder", reading),
        unet=_network(diffusers.UNet2DConditionModel, folder / "unet", reading),
        vae=_network(getattr(diffusers, vae_class), folder / "vae", reading),
        scheduler=getattr(diffusers, scheduler_class).from_pretrained(
            folder / "scheduler", local_files_only=True
        ),
        safety_checker=checker,
        feature_extractor=feature_extractor,
    )


def read_safety_checker(folder: Path, reading: Reading) -> tuple[Any, Any]:
    """The safety checker of a folder that has one, and what prepares pictures for it.

    Raises:
        ModelFailed: it is not whole.
    """
    checker = _network(StableDiffusionSafetyChecker, folder / "safety_checker", reading)
    processor = CLIPImageProcessorPil.from_pretrained(
        folder / "feature_extractor", local_files_only=True
    )
    return _at_rest(checker, reading), processor


def assemble(reading: Reading, **parts: Any) -> Components:
    """Put loaded parts together, on their device, in the memory layout that convolutions like.

    diffusers' pipeline has a say first: it corrects the settings of outdated schedulers.

    Args:
        reading: device and dtype.
        parts: of a StableDiffusionPipeline.

    Raises:
        ModelFailed: the parts don't fit together.
    """
    pipeline = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    networks = Networks(
        _at_rest(pipeline.text_encoder, reading),
        _at_rest(pipeline.unet, reading).to(memory_format=torch.channels_last),
        _at_rest(pipeline.vae, reading).to(memory_format=torch.channels_last),
    )
    components = Components(
        tokenizer=pipeline.tokenizer,
        architecture=describe(pipeline),
        device=reading.device,
        read=lambda: networks,
        safety_checker=pipeline.safety_checker,
        feature_extractor=pipeline.feature_extractor,
    )
    components.networks = networks
    return components


def _at_rest(network: Any, reading: Reading) -> Any:
    return network.requires_grad_(False).eval().to(reading.device)


def _network(network_class: Any, folder: Path, reading: Reading) -> Any:
    """One network with all its weights from the checkpoint, none left random."""
    if not folder.is_dir():
        raise ModelFailed(f"Its {folder.name} is missing: no folder {folder}.")
    network, report = network_class.from_pretrained(
        folder,
        variant=_variant(folder, reading),
        use_safetensors=None if reading.allow_pickle else True,
        local_files_only=True,
        output_loading_info=True,
        dtype=reading.dtype,
    )
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelFailed(
            f"Its {folder.name} lacks {len(missing)} weights, {missing[0]} for one: "
            "the files belong to another model, or are incomplete."
        )
    return network


def _variant(folder: Path, reading: Reading) -> str | None:
    """fp16 weights where they are wanted, or where there are no others."""
    half = [*folder.glob(f"*.{HALF_PRECISION_VARIANT}*.safetensors")]
    if not half:
        return None
    whole = [path for path in folder.glob("*.safetensors") if path not in half]
    return HALF_PRECISION_VARIANT if reading.dtype == torch.float16 or not whole else None
