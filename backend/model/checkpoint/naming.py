"""Maps weight names written by trainers to those of the original Stable Diffusion 1.x and 2.x."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

UNET, EMA = "model.diffusion_model.", "model_ema.diffusion_model"
VAE, CLIP = "first_stage_model.", "cond_stage_model.transformer."
OPEN_CLIP = "cond_stage_model.model."
# The text encoder of SD-Turbo, and what files with this name have if they are of SDXL.
CONDITIONER = "conditioner.embedders.0.model."
OF_SDXL = ("conditioner.embedders.1.", f"{UNET}label_emb.")
# The VAE's attention as trainers built on diffusers name it, and the original names.
VAE_ATTENTION = {
    ".to_q.": ".q.",
    ".to_k.": ".k.",
    ".to_v.": ".v.",
    ".to_out.0.": ".proj_out.",
    ".group_norm.": ".norm.",
}
# EMA (averaged) weights have the UNet's names without dots; these words find them again.
WORDS = (
    "transformer_blocks|skip_connection|middle_block|time_embed|out_layers|emb_layers|in_layers|"
    "proj_out|proj_in|attn1|attn2|norm1|norm2|norm3|to_out|to_q|to_k|to_v|norm|proj|conv|weight|"
    "bias|net|out|op|ff"
)
# Input and output blocks have a number of any length, then a layer of one digit.
FLAT = re.compile(rf"(input_blocks|output_blocks)(\d+)(\d)|({WORDS})|(\d+)")


def to_original_names(weights: Mapping[str, T]) -> dict[str, T]:
    """The weights under their original names; the EMA weights if the UNet has no others."""
    has_unet = any(name.startswith(UNET) for name in weights)
    is_sdxl = any(name.startswith(OF_SDXL) for name in weights)
    found = {}
    for name, weight in weights.items():
        if name.startswith(EMA):
            if not has_unet:
                found[UNET + _dotted(name.removeprefix(EMA))] = weight
            continue
        if name.startswith(CONDITIONER) and not is_sdxl:
            name = OPEN_CLIP + name.removeprefix(CONDITIONER)
        found[_original(name)] = weight
    return found


def _original(name: str) -> str:
    if name.startswith(CLIP) and not name.startswith(f"{CLIP}text_model."):
        return f"{CLIP}text_model.{name.removeprefix(CLIP)}"  # the names before 2023
    if name.startswith(VAE) and ".attn_1." in name:
        for new, old in VAE_ATTENTION.items():
            name = name.replace(new, old)
    return name


def _dotted(flat: str) -> str:
    """Turn `input_blocks10in_layers0weight` into `input_blocks.1.0.in_layers.0.weight`."""
    words: list[str] = []
    for match in FLAT.finditer(flat):
        words += [group for group in match.groups() if group is not None]
    return ".".join(words)
