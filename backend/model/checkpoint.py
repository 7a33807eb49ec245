"""Reads a checkpoint folder in diffusers layout, and refuses what is not whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPImageProcessorPil, CLIPTextModel, CLIPTokenizer

from backend.errors import ModelFailed
from backend.model.components import Components
from backend.model.noise_schedulers import RECIPES

INDEX = "model_index.json"
AUTOENCODERS = ("AutoencoderKL", "AutoencoderTiny")
HALF_PRECISION_VARIANT = "fp16"


class Reading(NamedTuple):
    """How to read a checkpoint."""

    device: torch.device
    dtype: torch.dtype
    safety_checker: bool = True
    allow_pickle: bool = False


def read_folder(folder: Path, reading: Reading) -> Components:
    """Load every part of a folder in diffusers layout; touches no network.

    Raises:
        ModelFailed: something is missing, broken, or of a kind that isn't supported.
    """
    index = _read_index(folder)
    _expect(index, "unet", ("UNet2DConditionModel",))
    _expect(index, "text_encoder", ("CLIPTextModel",))
    vae_class = _expect(index, "vae", AUTOENCODERS)
    scheduler_class = _expect(
        index, "scheduler", tuple({recipe.class_name for recipe in RECIPES.values()})
    )
    checked = reading.safety_checker and _class_of(index, "safety_checker") is not None
    return assemble(
        reading,
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        text_encoder=_network(CLIPTextModel, folder / "text_encoder", reading),
        unet=_network(diffusers.UNet2DConditionModel, folder / "unet", reading),
        vae=_network(getattr(diffusers, vae_class), folder / "vae", reading),
        scheduler=getattr(diffusers, scheduler_class).from_pretrained(
            folder / "scheduler", local_files_only=True
        ),
        safety_checker=_network(StableDiffusionSafetyChecker, folder / "safety_checker", reading)
        if checked
        else None,
        feature_extractor=CLIPImageProcessorPil.from_pretrained(
            folder / "feature_extractor", local_files_only=True
        )
        if checked
        else None,
    )


def assemble(reading: Reading, **parts: Any) -> Components:
    """Put loaded parts together, on their device, in the memory layout that convolutions like.

    diffusers' pipeline has a say first: it corrects the settings of outdated schedulers.

    Raises:
        ModelFailed: the parts don't fit together.
    """
    pipeline = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    for network in (pipeline.text_encoder, pipeline.unet, pipeline.vae, pipeline.safety_checker):
        if network is not None:
            network.requires_grad_(False).eval().to(reading.device)
    for network in (pipeline.unet, pipeline.vae):
        network.to(memory_format=torch.channels_last)
    components = Components(
        tokenizer=pipeline.tokenizer,
        text_encoder=pipeline.text_encoder,
        unet=pipeline.unet,
        vae=pipeline.vae,
        scheduler_class=type(pipeline.scheduler).__name__,
        scheduler_config=dict(pipeline.scheduler.config),
        safety_checker=pipeline.safety_checker,
        feature_extractor=pipeline.feature_extractor,
    )
    components.check()
    return components


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFailed(f"{folder} is no model in diffusers layout: it has no {INDEX}.") from None
    except ValueError:
        raise ModelFailed(f"{path} is not JSON.") from None
    if not isinstance(index, dict):
        raise ModelFailed(f"{path} is not a JSON object.")
    return index


def _class_of(index: dict[str, Any], part: str) -> str | None:
    entry = index.get(part)
    return entry[1] if isinstance(entry, list) and len(entry) == 2 else None


def _expect(index: dict[str, Any], part: str, supported: tuple[str, ...]) -> str:
    found = _class_of(index, part)
    if found not in supported:
        names = " or ".join(sorted(supported))
        raise ModelFailed(f"Its {part} is {found or 'missing'}: supported is {names}.")
    return found


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
