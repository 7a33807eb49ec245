"""What a LoRA file holds, by its table alone: the modules it changes, and for which model."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backend.errors import ModelFailed
from backend.model.checkpoint.identify import other_kind
from backend.model.checkpoint.weights_file import Shapes

MAX_TENSORS = 20_000
MAX_RANK = 1024
MAX_TRIGGER_WORDS = 8
MAX_WORD_CHARACTERS = 80
MAX_METADATA_CHARACTERS = 2_000_000

# Ends of names, by what they are; the same in kohya's and in diffusers' naming, old and new.
DOWN = (".lora_down.weight", ".lora_A.weight", ".lora.down.weight", "_lora.down.weight")
UP = (".lora_up.weight", ".lora_B.weight", ".lora.up.weight", "_lora.up.weight")
ALPHA = (".alpha",)
# Parts of names that only other kinds of adapters have.
OTHER_KINDS = {
    ".hada_": "a LoHa",
    ".lokr_": "a LoKr",
    ".oft_": "an OFT adapter",
    ".lora_mid.": "a LoCon with Tucker decomposition",
    "dora_scale": "a DoRA",
    "lora_magnitude_vector": "a DoRA",
    ".diff_b": "a LyCORIS of full differences",
    ".on_input": "an IA3 adapter",
}
OTHER_FAMILIES = {
    "lora_te2_": "Stable Diffusion XL",
    "lora_te1_": "Stable Diffusion XL",
    "text_encoder_2.": "Stable Diffusion XL",
    "lora_unet_double_blocks": "Flux",
    "lora_unet_joint_blocks": "Stable Diffusion 3",
    "lora_transformer": "a diffusion transformer",
    "transformer.": "a diffusion transformer",
    "diffusion_model.": "a diffusion transformer",
}
FAMILY_BY_WIDTH = {
    768: "Stable Diffusion 1.x",
    1024: "Stable Diffusion 2.x",
    2048: "Stable Diffusion XL",
}
CROSS_ATTENTION = re.compile(r"attn2[._](?:processor\.)?to_[kv]")
IN_PROCESSOR = re.compile(r"\.processor\.(to_[qkv]|to_out)$")


@dataclass(frozen=True)
class Change:
    """Names of the tensors that change one module's weight by up x down x alpha / rank."""

    down: str
    up: str
    alpha: str | None = None


def read_changes(shapes: Shapes, cross_attention_dim: int) -> Mapping[str, Change]:
    """What the file changes, by the module's name in the file.

    Args:
        shapes: of the file's tensors.
        cross_attention_dim: of the served model's UNet.

    Raises:
        ModelFailed: with a sentence that says what the file is instead.
    """
    _check_kind(shapes)
    downs, ups = _by_module(shapes, DOWN), _by_module(shapes, UP)
    if not downs and not ups:
        raise ModelFailed(f"It is no LoRA. {other_kind(shapes) or ''}".strip())
    halves = downs.keys() ^ ups.keys()
    if halves:
        raise ModelFailed(f"Half of it is missing: {_shown(min(halves))} has but one matrix.")
    alphas = _by_module(shapes, ALPHA)
    for module, alpha in alphas.items():
        if math.prod(shapes[alpha]) != 1:
            raise ModelFailed(f"The alpha of {_shown(module)} is no number: {list(shapes[alpha])}.")
    for module, down in downs.items():
        _check_shapes(module, shapes[down], shapes[ups[module]])
        if CROSS_ATTENTION.search(module) and shapes[down][1] != cross_attention_dim:
            raise ModelFailed(_wrong_family(shapes[down][1], cross_attention_dim))
    return {name: Change(down, ups[name], alphas.get(name)) for name, down in downs.items()}


def trigger_words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Words that the file says it was trained with, the most frequent first.

    Args:
        metadata: of the file, as model hubs and kohya's trainer write it.
    """
    phrase = str(metadata.get("modelspec.trigger_phrase", ""))[:MAX_METADATA_CHARACTERS]
    words = [*phrase.split(","), *_most_frequent(metadata.get("ss_tag_frequency", ""))]
    cleaned = (" ".join(word.split()) for word in words)
    good = (w for w in cleaned if w.isprintable() and 0 < len(w) <= MAX_WORD_CHARACTERS)
    return tuple(dict.fromkeys(good))[:MAX_TRIGGER_WORDS]


def _most_frequent(text: Any) -> list[str]:
    """Tags of `ss_tag_frequency`: an object of objects, tag to count, one per folder."""
    counts: Counter[str] = Counter()
    try:
        folders = json.loads(text) if len(text) <= MAX_METADATA_CHARACTERS else {}
        for tags in folders.values():
            counts.update({str(tag): int(count) for tag, count in tags.items()})
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return []
    return [tag for tag, _ in counts.most_common(MAX_TRIGGER_WORDS)]


def _check_kind(shapes: Shapes) -> None:
    if len(shapes) > MAX_TENSORS:
        raise ModelFailed(f"It holds {len(shapes):,} tensors, more than any LoRA for this model.")
    for part, kind in OTHER_KINDS.items():
        if any(part in name for name in shapes):
            raise ModelFailed(f"It is {kind}, which isn't supported: use a LoRA.")
    for beginning, family in OTHER_FAMILIES.items():
        if any(name.startswith(beginning) for name in shapes):
            raise ModelFailed(f"It is a LoRA for {family}: this model can't use it.")


def _by_module(shapes: Shapes, ends: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in shapes:
        for end in ends:
            if name.endswith(end):
                module = IN_PROCESSOR.sub(r".\1", name.removesuffix(end))
                found[module] = name
                break
    return found


def _check_shapes(module: str, down: tuple[int, ...], up: tuple[int, ...]) -> None:
    """down is [rank, in] or [rank, in, height, width]; up is [out, rank] or [out, rank, 1, 1]."""
    fits = (
        len(down) in (2, 4)
        and len(up) == len(down)
        and up[1] == down[0]
        and 0 < down[0] <= MAX_RANK
        and up[2:] in ((), (1, 1))
    )
    if not fits:
        raise ModelFailed(
            f"The matrices of {_shown(module)} don't fit together: {list(down)} and {list(up)}."
        )


def _wrong_family(width: int, cross_attention_dim: int) -> str:
    family = FAMILY_BY_WIDTH.get(width, f"a model with text embeddings {width} wide")
    own = FAMILY_BY_WIDTH.get(cross_attention_dim, "this model")
    return f"It is a LoRA for {family}; {own} has text embeddings {cross_attention_dim} wide."


def _shown(name: str) -> str:
    return f"“{name[:100]}”"
