"""Reads a checkpoint folder in diffusers layout; refuses incomplete ones."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPImageProcessorPil, CLIPTextModel, CLIPTokenizer

from backend.model.checkpoint.architecture import describe
from backend.model.checkpoint.components import Components, LoadOptions, Networks
from backend.model.checkpoint.model_index import (
    FILES,
    check_files,
    expect,
    names_safety_checker,
    read_index,
)
from backend.model.checkpoint.network import read_network
from backend.model.checkpoint.vae import AUTOENCODERS, read_vae
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
        text_encoder=read_network(CLIPTextModel, folder / "text_encoder", reading),
        unet=read_network(diffusers.UNet2DConditionModel, folder / "unet", reading),
        vae=read_vae(vae, reading, folder / "vae")
        if vae is not None
        else read_network(getattr(diffusers, vae_class), folder / "vae", reading),
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
    checker = read_network(StableDiffusionSafetyChecker, folder / "safety_checker", reading)
    processor = CLIPImageProcessorPil.from_pretrained(
        folder / "feature_extractor", local_files_only=True
    )
    return _at_rest(checker, reading), processor


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
