"""Textual-inversion embeddings: vectors that stand for a name in a prompt."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from backend.errors import ModelFailed
from backend.model.checkpoint.weights_file import Shapes, read_table

MAX_BYTES = 8 * 2**20
MAX_HEADER_BYTES = 2**20
A1111_NAME = "emb_params"
DOUBLE = {"clip_l", "clip_g"}


def read_embedding(path: Path, hidden_size: int, window: int) -> torch.Tensor:
    """Vectors [n, hidden], float32, as A1111's web UI or diffusers saved them.

    Raises:
        ModelFailed: with a sentence that says what the file is instead.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ModelFailed("It is far larger than an embedding.")
    name = _name_of(read_table(path, MAX_HEADER_BYTES).shapes, hidden_size, window)
    try:
        with safe_open(path, framework="pt") as file:
            vectors: torch.Tensor = file.get_tensor(name).float()
    except SafetensorError as error:
        raise ModelFailed(f"It is no safetensors file: {error}.") from error
    if not torch.isfinite(vectors).all():
        raise ModelFailed("Its vectors are not all numbers.")
    return vectors.view(-1, hidden_size)


def _name_of(shapes: Shapes, hidden_size: int, window: int) -> str:
    """Of the tensor that holds the vectors."""
    if shapes.keys() & DOUBLE:
        raise ModelFailed("It is an embedding for Stable Diffusion XL: this model can't use it.")
    name = A1111_NAME if A1111_NAME in shapes else next(iter(shapes), "")
    if A1111_NAME not in shapes and len(shapes) != 1:
        raise ModelFailed(f"It holds {len(shapes)} tensors: an embedding is one.")
    shape = shapes[name]
    if len(shape) not in (1, 2) or 0 in shape:
        raise ModelFailed(f"It is no embedding: its tensor is {list(shape)}.")
    if shape[-1] != hidden_size:
        raise ModelFailed(
            f"Its vectors are {shape[-1]} wide, this model's {hidden_size}: "
            "it was made for another kind of model."
        )
    if len(shape) == 2 and shape[0] > window:
        raise ModelFailed(f"It takes {shape[0]} tokens; a prompt has room for {window} at once.")
    return name
