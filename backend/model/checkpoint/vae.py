"""Reads an autoencoder that replaces the checkpoint's own: a folder or a file."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import diffusers
from safetensors.torch import load_file

from backend.errors import ModelFailed
from backend.model.checkpoint.components import LoadOptions
from backend.model.checkpoint.identify import VAE_BEGINNINGS
from backend.model.checkpoint.network import read_network
from backend.model.checkpoint.pickles import load_pickle
from backend.model.checkpoint.source import SD1
from backend.model.checkpoint.weights_file import SAFETENSORS, read_shapes

logger = logging.getLogger(__name__)

AUTOENCODERS = ("AutoencoderKL", "AutoencoderTiny")
CONFIG = "config.json"
PICKLES = (".ckpt", ".pt")
SCALING_FACTOR = 0.18215  # where a config names none
OF_TRAINING = ("loss.", "model_ema.")  # not part of the autoencoder
# The attention of autoencoders that diffusers wrote before 2023.
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
OLD_NAME = re.compile(r"(\.attentions\.\d+\.)(query|key|value|proj_attn)\.")


def read_vae(path: Path, reading: LoadOptions, own: Path) -> Any:
    """An autoencoder: a folder in diffusers layout, or a file as trainers write it.

    Args:
        path: of the folder (that of a whole model, too) or file.
        reading: load options.
        own: folder with the config of the autoencoder that it replaces.

    Raises:
        ModelFailed: it is broken, something else, or of another family.
    """
    try:
        vae = _read_folder(path, reading) if path.is_dir() else _read_file(path, reading)
        _check_family(vae, own)
    except ModelFailed as error:
        raise ModelFailed(f"Its VAE, {path.name}: {error}") from None
    except Exception as error:  # readers fail in many ways
        logger.debug("reading %s failed", path, exc_info=True)
        raise ModelFailed(f"Its VAE, {path.name}, is no autoencoder of this family.") from error
    return vae


def _read_folder(path: Path, reading: LoadOptions) -> Any:
    folder = path if (path / CONFIG).is_file() else path / "vae"
    if not (folder / CONFIG).is_file():
        raise ModelFailed(f"It is no autoencoder in diffusers layout: it has no {CONFIG}.")
    class_name = str(_config(folder).get("_class_name"))
    if class_name not in AUTOENCODERS:
        raise ModelFailed(f"It is {class_name}: supported is {' or '.join(AUTOENCODERS)}.")
    return read_network(getattr(diffusers, class_name), folder, reading)


def _read_file(path: Path, reading: LoadOptions) -> Any:
    if path.suffix.lower() == SAFETENSORS:
        _only_vae(read_shapes(path))  # before it is read
        weights = _only_vae(load_file(path))
    elif path.suffix.lower() in PICKLES:
        weights = _only_vae(load_pickle(path, allow_pickle=reading.allow_pickle))
    else:
        raise ModelFailed("It must be a folder, a Hugging Face id or a .safetensors file.")
    vae = diffusers.AutoencoderKL.from_single_file(
        weights,
        config=str(SD1),
        subfolder="vae",
        torch_dtype=reading.dtype,
        local_files_only=True,
    )
    if any(weight.is_meta for weight in vae.parameters()):
        raise ModelFailed("It lacks weights.")
    return vae


def _only_vae(weights: Any) -> dict[str, Any]:
    """Without what training left there.

    Raises:
        ModelFailed: it holds more, or something else.
    """
    kept = {
        OLD_NAME.sub(lambda m: f"{m[1]}{OLD_ATTENTION[m[2]]}.", name): weight
        for name, weight in weights.items()
        if not name.startswith(OF_TRAINING)
    }
    if not kept or not all(name.startswith(VAE_BEGINNINGS) for name in kept):
        raise ModelFailed("It is more or other than an autoencoder.")
    return kept


def _check_family(vae: Any, own: Path) -> None:
    """Refuse SDXL's, which has the same shapes: its latents are scaled otherwise."""
    if not (own / CONFIG).is_file():
        return
    replaced = _config(own)
    if {replaced.get("_class_name"), type(vae).__name__} != {"AutoencoderKL"}:
        return
    expected = replaced.get("scaling_factor", SCALING_FACTOR)
    if vae.config.scaling_factor != expected:
        raise ModelFailed(
            f"It belongs to another family of models: its latents are scaled by "
            f"{vae.config.scaling_factor}, this model's by {expected}."
        )


def _config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return config
