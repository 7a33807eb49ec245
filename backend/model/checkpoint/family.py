"""What a single file in the original layout lacks, by its family: configs and tokenizer."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

from backend.model.checkpoint.naming import CLIP, OPEN_CLIP
from backend.model.checkpoint.source import SD1


class Family(NamedTuple):
    """Checkpoints of one architecture.

    Attributes:
        name: for people.
        configs: folder in diffusers layout without weights.
        text_encoder: a tensor that tells its text encoder from those of other families.
        v_sample_size: latent cells a side of the UNet where it predicts v; None: this family has
            no such models of its own, and files of others mark it.
        pad_token: that fills short prompts. The vocabulary is CLIP's in every family.
    """

    name: str
    configs: Path
    text_encoder: str
    v_sample_size: int | None
    pad_token: str


STABLE_DIFFUSION_1 = Family(
    "Stable Diffusion 1.x",
    SD1,
    f"{CLIP}text_model.embeddings.position_embedding.weight",
    None,
    "<|endoftext|>",
)
STABLE_DIFFUSION_2 = Family(
    "Stable Diffusion 2.x", SD1.with_name("sd2"), f"{OPEN_CLIP}token_embedding.weight", 96, "!"
)


def family_of(names: Container[str]) -> Family:
    """The family of a checkpoint by its tensors' original names."""
    is_second = STABLE_DIFFUSION_2.text_encoder in names
    return STABLE_DIFFUSION_2 if is_second else STABLE_DIFFUSION_1
