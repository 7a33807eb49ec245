"""Reads one network of a folder in diffusers layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from backend.errors import ModelFailed
from backend.model.checkpoint.components import LoadOptions
from backend.model.checkpoint.weights_file import SAFETENSORS, check_content, read_shapes

HALF_PRECISION_VARIANT = "fp16"


def read_network(network_class: Any, folder: Path, reading: LoadOptions) -> Any:
    """Load one network; refuses one with missing weights, which diffusers would leave random.

    Raises:
        ModelFailed: it is missing, broken or incomplete.
    """
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
