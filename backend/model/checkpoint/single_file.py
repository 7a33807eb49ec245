"""Reads a single-file checkpoint in the original layout of Stable Diffusion 1.x, offline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from backend.errors import ModelFailed
from backend.model.checkpoint.components import Components, LoadOptions
from backend.model.checkpoint.folder import assemble, read_vae
from backend.model.checkpoint.identify import WANTED, other_kind
from backend.model.checkpoint.naming import to_original_names
from backend.model.checkpoint.source import SD1
from backend.model.checkpoint.weights_file import (
    SAFETENSORS,
    Shapes,
    check_content,
    read_shapes,
)

LANDMARKS = {
    "UNet": "model.diffusion_model.input_blocks.0.0.weight",
    "autoencoder": "first_stage_model.decoder.conv_in.weight",
    "text encoder": "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight",
}
# Empty tensors with which trainers mark v-prediction and a zero terminal SNR schedule.
V_PREDICTION, ZERO_SNR = "v_pred", "ztsnr"


def read_file(
    path: Path, reading: LoadOptions, configs: Path = SD1, vae: Path | None = None
) -> Components:
    """Load a `.safetensors` file, or a `.ckpt` pickle if that is allowed.

    Args:
        path: the file.
        reading: load options. Such files contain no safety checker.
        configs: folder in diffusers layout without weights, for the configs a file lacks.
        vae: a folder or file that replaces its autoencoder.

    Raises:
        ModelFailed: the file is broken, incomplete or not supported.
    """
    weights = _weights(path, reading)
    source = {"config": str(configs), "torch_dtype": reading.dtype, "local_files_only": True}

    def text_encoder() -> Any:
        return create_diffusers_clip_model_from_ldm(
            CLIPTextModel, checkpoint=weights, subfolder="text_encoder", **source
        )

    def unet() -> UNet2DConditionModel:
        return UNet2DConditionModel.from_single_file(dict(weights), subfolder="unet", **source)

    def autoencoder() -> Any:
        if vae is not None:
            return read_vae(vae, reading)
        return AutoencoderKL.from_single_file(dict(weights), subfolder="vae", **source)

    return assemble(
        reading,
        tokenizer=CLIPTokenizer.from_pretrained(configs / "tokenizer", local_files_only=True),
        text_encoder=_network("text encoder", text_encoder),
        unet=_network("UNet", unet),
        vae=_network("autoencoder", autoencoder),
        scheduler=_scheduler(weights, configs / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
    )


def _weights(path: Path, reading: LoadOptions) -> dict[str, torch.Tensor]:
    """The weights under their original names, after checking that all parts are there."""
    if path.suffix.lower() == SAFETENSORS:
        _check_kind(read_shapes(path))  # before gigabytes are read
        return to_original_names(load_file(path))
    if not reading.allow_pickle:
        raise ModelFailed("It is a pickle, and ALLOW_PICKLE is not set.")
    check_content(path)
    content = torch.load(path, map_location="cpu", weights_only=False)
    state: dict[str, Any] = content.get("state_dict", content)
    weights = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    _check_kind({name: tuple(weight.shape) for name, weight in weights.items()})
    return to_original_names(weights)


def _check_kind(shapes: Shapes) -> None:
    sentence = other_kind(shapes)
    if sentence is not None:
        raise ModelFailed(sentence)
    names = to_original_names(shapes)
    missing = [part for part, landmark in LANDMARKS.items() if landmark not in names]
    if missing:
        raise ModelFailed(f"It holds no {', no '.join(missing)}: {WANTED}.")


def _scheduler(weights: Mapping[str, torch.Tensor], folder: Path) -> Any:
    """The noise scheduler of the configs, changed by the marks in the file."""
    marks: dict[str, Any] = {}
    if V_PREDICTION in weights:
        marks["prediction_type"] = "v_prediction"
    if ZERO_SNR in weights:
        marks["rescale_betas_zero_snr"] = True
    # PNDM can't start from pure noise (zero terminal SNR).
    scheduler_class = DDIMScheduler if ZERO_SNR in weights else PNDMScheduler
    config = PNDMScheduler.load_config(folder, local_files_only=True)
    return scheduler_class.from_config(config, **marks)


def _network(part: str, load: Callable[[], Any]) -> Any:
    """Load one network; refuses one whose weights are not all in the file."""
    try:
        network = load()
    except NotImplementedError:  # raised by torch for a weight without data
        raise _incomplete(part) from None
    except (RuntimeError, ValueError) as error:
        if "shape" not in str(error) and "size mismatch" not in str(error):
            raise
        raise ModelFailed(
            f"Its {part} has weights of other sizes than Stable Diffusion 1.x has: {WANTED}."
        ) from error
    if any(weight.is_meta for weight in network.parameters()):
        raise _incomplete(part)
    return network


def _incomplete(part: str) -> ModelFailed:
    return ModelFailed(
        f"It lacks weights of the {part}: the file is incomplete, or of another architecture."
    )
