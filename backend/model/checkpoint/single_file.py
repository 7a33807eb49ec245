"""Reads a checkpoint in one file, in the original layout of Stable Diffusion 1.x, offline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from backend.errors import ModelFailed
from backend.model.checkpoint.components import Components, Reading
from backend.model.checkpoint.folder import assemble
from backend.model.checkpoint.source import SD1

LANDMARKS = {
    "UNet": "model.diffusion_model.input_blocks.0.0.weight",
    "autoencoder": "first_stage_model.decoder.conv_in.weight",
    "text encoder": "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight",
}
OTHER_FAMILIES = ("conditioner.embedders.", "cond_stage_model.model.", "text_encoders.")


def read_file(path: Path, reading: Reading, configs: Path = SD1) -> Components:
    """Load a `.safetensors` file, or a `.ckpt` pickle where that is allowed.

    Args:
        path: of the file.
        reading: device, dtype, and whether pickles are allowed. Such files carry no safety
            checker.
        configs: folder in diffusers layout, without weights: what the file doesn't say.

    Raises:
        ModelFailed: it is no such file.
    """
    weights = _weights(path, reading)
    _check_family(weights)
    source = {"config": str(configs), "torch_dtype": reading.dtype, "local_files_only": True}

    def text_encoder() -> Any:
        return create_diffusers_clip_model_from_ldm(
            CLIPTextModel, checkpoint=weights, subfolder="text_encoder", **source
        )

    def unet() -> UNet2DConditionModel:
        return UNet2DConditionModel.from_single_file(dict(weights), subfolder="unet", **source)

    def vae() -> AutoencoderKL:
        return AutoencoderKL.from_single_file(dict(weights), subfolder="vae", **source)

    return assemble(
        reading,
        tokenizer=CLIPTokenizer.from_pretrained(configs / "tokenizer", local_files_only=True),
        text_encoder=_network("text encoder", text_encoder),
        unet=_network("UNet", unet),
        vae=_network("autoencoder", vae),
        scheduler=PNDMScheduler.from_pretrained(configs / "scheduler", local_files_only=True),
        safety_checker=None,
        feature_extractor=None,
    )


def _weights(path: Path, reading: Reading) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    if not reading.allow_pickle:
        raise ModelFailed("It is a pickle, and ALLOW_PICKLE is not set.")
    content = torch.load(path, map_location="cpu", weights_only=False)
    state: dict[str, torch.Tensor] = content.get("state_dict", content)
    return state


def _check_family(weights: Mapping[str, torch.Tensor]) -> None:
    if any(name.startswith(OTHER_FAMILIES) for name in weights):
        raise ModelFailed(
            "It belongs to another family: single files of Stable Diffusion 1.x are supported; "
            "convert it to a folder in diffusers layout."
        )
    missing = [part for part, landmark in LANDMARKS.items() if landmark not in weights]
    if missing:
        raise ModelFailed(
            f"It holds no {', no '.join(missing)}: expected is a whole checkpoint in the original "
            "layout of Stable Diffusion 1.x."
        )


def _network(part: str, load: Callable[[], Any]) -> Any:
    """One network, all of whose weights came from the file."""
    try:
        return load()
    except NotImplementedError:  # what torch says of a weight that got no value
        raise ModelFailed(
            f"It lacks weights of the {part}: the file is incomplete, or of another architecture."
        ) from None
