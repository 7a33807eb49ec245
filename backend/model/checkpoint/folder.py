"""Reads a checkpoint folder in diffusers layout; refuses incomplete ones."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors.torch import load_file
from transformers import CLIPImageProcessorPil, CLIPTextModel, CLIPTokenizer

from backend.errors import ModelFailed
from backend.model.checkpoint.architecture import describe
from backend.model.checkpoint.components import Components, LoadOptions, Networks
from backend.model.checkpoint.identify import VAE_BEGINNINGS
from backend.model.checkpoint.model_index import (
    FILES,
    check_files,
    expect,
    names_safety_checker,
    read_index,
)
from backend.model.checkpoint.source import SD1
from backend.model.checkpoint.weights_file import SAFETENSORS, check_content, read_shapes
from backend.model.noise_schedulers import RECIPES

logger = logging.getLogger(__name__)

# Noise schedulers that we don't offer, and the nearest one that we do.
STAND_INS = {
    "DEISMultistepScheduler": "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler": "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler": "DPMSolverMultistepScheduler",
    "SASolverScheduler": "UniPCMultistepScheduler",
    "KDPM2DiscreteScheduler": "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler": "EulerAncestralDiscreteScheduler",
    "DDIMParallelScheduler": "DDIMScheduler",
    "DDPMParallelScheduler": "DDPMScheduler",
}
# Config entries about the solver rather than the model; a stand-in uses its own.
OF_SOLVER = ("algorithm_type", "solver_type", "solver_order", "final_sigmas_type")
AUTOENCODERS = ("AutoencoderKL", "AutoencoderTiny")
HALF_PRECISION_VARIANT = "fp16"


def read_folder(folder: Path, reading: LoadOptions, vae: Path | None = None) -> Components:
    """Load every part of a folder in diffusers layout, offline; `vae` replaces its autoencoder.

    Raises:
        ModelFailed: a part is missing, broken, or not supported.
    """
    index = read_index(folder)
    expect(index, "unet", ("UNet2DConditionModel",))
    expect(index, "text_encoder", ("CLIPTextModel",))
    vae_class = expect(index, "vae", AUTOENCODERS)
    own = {recipe.class_name for recipe in RECIPES.values()}
    scheduler_class = expect(index, "scheduler", (*own, *STAND_INS))
    for part in FILES:
        check_files(folder, part)
    checked = reading.safety_checker and names_safety_checker(index)
    checker, feature_extractor = read_safety_checker(folder, reading) if checked else (None, None)
    return assemble(
        reading,
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        text_encoder=_network(CLIPTextModel, folder / "text_encoder", reading),
        unet=_network(diffusers.UNet2DConditionModel, folder / "unet", reading),
        vae=read_vae(vae, reading)
        if vae is not None
        else _network(getattr(diffusers, vae_class), folder / "vae", reading),
        scheduler=_scheduler(folder / "scheduler", scheduler_class),
        safety_checker=checker,
        feature_extractor=feature_extractor,
    )


def _scheduler(folder: Path, class_name: str) -> Any:
    """The model's own noise scheduler, or the nearest that we offer."""
    offered = STAND_INS.get(class_name, class_name)
    scheduler_class = getattr(diffusers, offered)
    config = scheduler_class.load_config(folder, local_files_only=True)
    if offered != class_name:
        logger.info("the model's noise scheduler is %s: %s stands in", class_name, offered)
        config = {name: value for name, value in config.items() if name not in OF_SOLVER}
    return scheduler_class.from_config(config)


def read_safety_checker(folder: Path, reading: LoadOptions) -> tuple[Any, Any]:
    """The folder's safety checker and its image processor.

    Raises:
        ModelFailed: it is incomplete.
    """
    checker = _network(StableDiffusionSafetyChecker, folder / "safety_checker", reading)
    processor = CLIPImageProcessorPil.from_pretrained(
        folder / "feature_extractor", local_files_only=True
    )
    return _at_rest(checker, reading), processor


def read_vae(path: Path, reading: LoadOptions) -> Any:
    """An autoencoder alone: a folder as diffusers writes it, or a .safetensors file.

    Raises:
        ModelFailed: it is broken, or something else.
    """
    try:
        return _read_vae(path, reading)
    except ModelFailed as error:
        raise ModelFailed(f"Its VAE, {path.name}: {error}") from None
    except Exception as error:  # readers fail in many ways
        logger.debug("reading %s failed", path, exc_info=True)
        raise ModelFailed(f"Its VAE, {path.name}, is no autoencoder of this family.") from error


def _read_vae(path: Path, reading: LoadOptions) -> Any:
    if path.is_dir():
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        class_name = str(config.get("_class_name"))
        if class_name not in AUTOENCODERS:
            raise ModelFailed(f"It is {class_name}: supported is {' or '.join(AUTOENCODERS)}.")
        return _network(getattr(diffusers, class_name), path, reading)
    if path.suffix.lower() != SAFETENSORS:
        raise ModelFailed("It must be a folder or a .safetensors file.")
    shapes = read_shapes(path)
    if not all(name.startswith(VAE_BEGINNINGS) for name in shapes):
        raise ModelFailed("It is more or other than an autoencoder.")
    vae = diffusers.AutoencoderKL.from_single_file(
        load_file(path),
        config=str(SD1),
        subfolder="vae",
        torch_dtype=reading.dtype,
        local_files_only=True,
    )
    if any(weight.is_meta for weight in vae.parameters()):
        raise ModelFailed("It lacks weights.")
    return vae


def assemble(reading: LoadOptions, **parts: Any) -> Components:
    """Combine loaded parts, on their device, with UNet and VAE in channels-last layout.

    Goes through diffusers' pipeline because that corrects outdated scheduler settings.

    Args:
        reading: load options, here for the device.
        parts: the arguments of StableDiffusionPipeline.

    Raises:
        ModelFailed: the parts don't belong together.
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


def _at_rest(network: Any, reading: LoadOptions) -> Any:
    return network.requires_grad_(False).eval().to(reading.device)


def _network(network_class: Any, folder: Path, reading: LoadOptions) -> Any:
    """Load one network; refuses one with missing weights, which diffusers would leave random."""
    if not folder.is_dir():
        raise ModelFailed(f"Its {folder.name} is missing: no folder {folder}.")
    _check_weights(folder)
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


def _check_weights(folder: Path) -> None:
    """Detect Git LFS pointers and interrupted downloads, for a clear error message."""
    for path in sorted(folder.iterdir()):
        check = {SAFETENSORS: read_shapes, ".bin": check_content}.get(path.suffix)
        if check is None:
            continue
        try:
            check(path)
        except ModelFailed as error:
            raise ModelFailed(f"Its {folder.name} is broken, {path.name}. {error}") from None


def _variant(folder: Path, reading: LoadOptions) -> str | None:
    """The fp16 variant if requested or if there is no other; None: the default files."""
    half = [*folder.glob(f"*.{HALF_PRECISION_VARIANT}*.safetensors")]
    if not half:
        return None
    whole = [path for path in folder.glob("*.safetensors") if path not in half]
    return HALF_PRECISION_VARIANT if reading.dtype == torch.float16 or not whole else None
