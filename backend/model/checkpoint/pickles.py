"""Reads weights from a pickle, which may run any code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from backend.errors import ModelFailed
from backend.model.checkpoint.weights_file import check_content


def load_pickle(path: Path, *, allow_pickle: bool) -> dict[str, torch.Tensor]:
    """The tensors of a `.ckpt` or `.pt` file.

    Raises:
        ModelFailed: pickles are not allowed, or it holds something else.
    """
    if not allow_pickle:
        raise ModelFailed("It is a pickle, and ALLOW_PICKLE is not set.")
    check_content(path)
    content = torch.load(path, map_location="cpu", weights_only=False)
    state: dict[str, Any] = content.get("state_dict", content)
    return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
