"""Reads a single-file checkpoint in the original layout of Stable Diffusion, offline."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from backend.errors import ModelFailed
from backend.model.checkpoint.components import Components, LoadOptions
from backend.model.checkpoint.family import Family, family_of
from backend.model.checkpoint.folder import assemble
from backend.model.checkpoint.identify import (
    FIRST_CONVOLUTION,
    INPAINTING_CHANNELS,
    WANTED,
    other_kind,
)
from backend.model.checkpoint.naming import OPEN_CLIP, UNET, to_original_names
from backend.model.checkpoint.pickles import load_pickle
from backend.model.checkpoint.source import SD1
from backend.model.checkpoint.vae import read_vae
from backend.model.checkpoint.weights_file import SAFETENSORS, Shapes, read_shapes

logger = logging.getLogger(__name__)

LANDMARKS = {
    "UNet": FIRST_CONVOLUTION,
    "autoencoder": "first_stage_model.decoder.conv_in.weight",
}
# Empty tensors with which trainers mark v-prediction and a zero terminal SNR schedule.
V_PREDICTION, ZERO_SNR = "v_pred", "ztsnr"
# No tensor of Stable Diffusion 2 says what it predicts. Those that predict v have a wider spread
# here, as https://github.com/Comfy-Org/ComfyUI and stable-diffusion.cpp found: above 0.09.
LAST_NORM = re.compile(
    re.escape(UNET) + r"output_blocks\.(\d+)\.1\.transformer_blocks\.0\.norm1\.bias"
)
V_SPREAD = 0.09
TEXT_LAYER = re.compile(re.escape(OPEN_CLIP) + r"transformer\.resblocks\.(\d+)\.")


def read_file(
    path: Path, reading: LoadOptions, configs: Path | None = None, vae: Path | None = None
) -> Components:
    """Load a `.safetensors` file, or a `.ckpt` pickle if that is allowed.

    Args:
        path: the file.
        reading: load options. Such files contain no safety checker.
        configs: folder in diffusers layout without weights, for the configs a file lacks; None:
            that of the file's family.
        vae: a folder or file that replaces its autoencoder.

    Raises:
        ModelFailed: the file is broken, incomplete or not supported.
    """
    weights = _weights(path, reading)
    family = family_of(weights)
    tokenizer = (configs or SD1) / "tokenizer"
    folder = configs or family.configs
    source = {"config": str(folder), "torch_dtype": reading.dtype, "local_files_only": True}
    predicts_v = _predicts_v(weights, family)
    sizes = _unet_sizes(weights, family.v_sample_size if predicts_v else None)

    def text_encoder() -> Any:
        config = CLIPTextConfig.from_pretrained(folder / "text_encoder", local_files_only=True)
        return create_diffusers_clip_model_from_ldm(
            CLIPTextModel,
            checkpoint=_without_unused_layers(weights, config.num_hidden_layers),
            subfolder="text_encoder",
            **source,
        )

    def unet() -> UNet2DConditionModel:
        return UNet2DConditionModel.from_single_file(
            dict(weights), subfolder="unet", **source, **sizes
        )

    def autoencoder() -> Any:
        if vae is not None:
            return read_vae(vae, reading, folder / "vae")
        return AutoencoderKL.from_single_file(dict(weights), subfolder="vae", **source)

    return assemble(
        reading,
        tokenizer=CLIPTokenizer.from_pretrained(
            tokenizer, local_files_only=True, pad_token=family.pad_token
        ),
        text_encoder=_network("text encoder", family, text_encoder),
        unet=_network("UNet", family, unet),
        vae=_network("autoencoder", family, autoencoder),
        scheduler=_scheduler(weights, family, folder / "scheduler", predicts_v=predicts_v),
        safety_checker=None,
        feature_extractor=None,
    )


def _weights(path: Path, reading: LoadOptions) -> dict[str, torch.Tensor]:
    """The weights under their original names, after checking that all parts are there."""
    if path.suffix.lower() == SAFETENSORS:
        _check_kind(read_shapes(path))  # before gigabytes are read
        return to_original_names(load_file(path))
    weights = load_pickle(path, allow_pickle=reading.allow_pickle)
    _check_kind({name: tuple(weight.shape) for name, weight in weights.items()})
    return to_original_names(weights)


def _check_kind(shapes: Shapes) -> None:
    shapes = to_original_names(shapes)
    sentence = other_kind(shapes)
    if sentence is not None:
        raise ModelFailed(sentence)
    landmarks = LANDMARKS | {"text encoder": family_of(shapes).text_encoder}
    missing = [part for part, landmark in landmarks.items() if landmark not in shapes]
    if missing:
        raise ModelFailed(f"It holds no {', no '.join(missing)}: {WANTED}.")


def _predicts_v(weights: Mapping[str, torch.Tensor], family: Family) -> bool:
    if V_PREDICTION in weights:
        return True
    norms = {int(m[1]): m[0] for name in weights if (m := LAST_NORM.fullmatch(name))}
    if family.v_sample_size is None or not norms or _is_for_inpainting(weights):
        return False  # no inpainting model of this family predicts v
    spread = float(weights[norms[max(norms)]].float().std(unbiased=False))
    kind = "v" if spread > V_SPREAD else "noise"
    logger.info(
        "this file of Stable Diffusion 2 predicts %s, by a spread of %.3f; if its pictures are "
        "nothing but noise, load it as a folder in diffusers layout, which says it",
        kind,
        spread,
    )
    return spread > V_SPREAD


def _is_for_inpainting(weights: Mapping[str, torch.Tensor]) -> bool:
    return weights[FIRST_CONVOLUTION].shape[1] == INPAINTING_CHANNELS


def _unet_sizes(weights: Mapping[str, torch.Tensor], sample_size: int | None) -> dict[str, int]:
    """Where this UNet's config differs from its family's."""
    sizes = {"in_channels": INPAINTING_CHANNELS} if _is_for_inpainting(weights) else {}
    return sizes if sample_size is None else sizes | {"sample_size": sample_size}


def _without_unused_layers(
    weights: Mapping[str, torch.Tensor], num_layers: int
) -> dict[str, torch.Tensor]:
    """Without the last layer of OpenCLIP's text encoder, which Stable Diffusion 2 doesn't use."""
    return {
        name: weight
        for name, weight in weights.items()
        if not ((layer := TEXT_LAYER.match(name)) and int(layer[1]) >= num_layers)
    }


def _scheduler(
    weights: Mapping[str, torch.Tensor], family: Family, folder: Path, *, predicts_v: bool
) -> Any:
    """The noise scheduler of the configs, changed by what the file says."""
    marks: dict[str, Any] = {}
    if predicts_v:
        marks["prediction_type"] = "v_prediction"
    if ZERO_SNR in weights:
        marks["rescale_betas_zero_snr"] = True
    # PNDM can't start from pure noise (zero terminal SNR); with v, Stable Diffusion 2 comes with
    # DDIM.
    is_ddim = ZERO_SNR in weights or (predicts_v and family.v_sample_size is not None)
    config = PNDMScheduler.load_config(folder, local_files_only=True)
    return (DDIMScheduler if is_ddim else PNDMScheduler).from_config(config, **marks)


def _network(part: str, family: Family, load: Callable[[], Any]) -> Any:
    """Load one network; refuses one whose weights are not all in the file."""
    try:
        network = load()
    except NotImplementedError:  # raised by torch for a weight without data
        raise _incomplete(part) from None
    except (RuntimeError, ValueError) as error:
        if "shape" not in str(error) and "size mismatch" not in str(error):
            raise
        raise ModelFailed(
            f"Its {part} has weights of other sizes than {family.name} has: {WANTED}."
        ) from error
    if any(weight.is_meta for weight in network.parameters()):
        raise _incomplete(part)
    return network


def _incomplete(part: str) -> ModelFailed:
    return ModelFailed(
        f"It lacks weights of the {part}: the file is incomplete, or of another architecture."
    )
