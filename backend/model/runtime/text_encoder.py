"""Runs the text encoder in torch, up to any layer, with vectors instead of some tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from backend.model.runtime.protocol import Vectors

if TYPE_CHECKING:
    from transformers import CLIPTextModel


@torch.inference_mode()
def encode_text(
    text_encoder: CLIPTextModel, input_ids: torch.Tensor, clip_skip: int, vectors: Vectors
) -> torch.Tensor:
    """Token ids [1, tokens] to embeddings [1, tokens, hidden]; see `Runtime.encode`."""
    with _standing_in(text_encoder, vectors):
        if clip_skip == 1:
            last: torch.Tensor = text_encoder(input_ids)[0]
            return last
        layers = text_encoder(input_ids, output_hidden_states=True).hidden_states
        embeds: torch.Tensor = text_encoder.final_layer_norm(layers[-clip_skip])
        return embeds


@contextmanager
def _standing_in(text_encoder: CLIPTextModel, vectors: Vectors) -> Iterator[None]:
    """Make the embedding table return `vectors` at their positions."""

    def replace(_table: Any, _ids: Any, found: torch.Tensor) -> torch.Tensor:
        places = torch.tensor(list(vectors), device=found.device)
        own = torch.stack(list(vectors.values())).to(found.device, found.dtype)
        return found.index_copy(1, places, own[None])

    if not vectors:
        yield
        return
    table: Any = text_encoder.get_input_embeddings()
    handle = table.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
