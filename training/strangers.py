"""Tests prompts of strangers: the picture must be right, or a warning must say why not.

strangers.json was fixed before training. `right` lists the acceptable things (`second` a required
second one), `warn` the words of which a warning must name at least one; "tokens" means a warning
that the prompt was truncated. If both are given, either is enough.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer

from training import judge, paths
from training.pictures import Pixels, to_tensor
from training.things import Thing

SEED = 1
WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")


@dataclass(frozen=True)
class Stranger:
    prompt: str
    right: tuple[str, ...] = ()
    second: tuple[str, ...] = ()
    warn: tuple[str, ...] = ()


def read() -> list[Stranger]:
    entries = json.loads(paths.STRANGERS.read_text("utf-8"))
    lists = ("right", "second", "warn")
    return [
        Stranger(entry["prompt"], *(tuple(entry.get(name, ())) for name in lists))
        for entry in entries
    ]


def _phrases(abilities: dict[str, Any]) -> list[str]:
    """All phrases the model knows, the longest first."""
    known: list[str] = []
    for thing in abilities["things"]:
        known += [thing["name"], *thing["also"], *thing["plural"]]
        known += [name for names in thing.get("labels", {}).values() for name in names]
    for key in ("colours", "backgrounds", "landscapes", "looks", "counts", "composition"):
        known += [phrase for phrases in abilities[key].values() for phrase in phrases]
    return sorted({*known, *abilities["modifiers"]}, key=len, reverse=True)


def unknown_words(prompt: str, abilities: dict[str, Any]) -> list[str]:
    """Words that the model doesn't know, in their order."""
    rest = prompt.lower()
    for phrase in _phrases(abilities):
        rest = re.sub(rf"(?<!\w){re.escape(phrase)}(?!\w)", " ", rest)
    return WORD.findall(rest)


def warned(prompt: str, abilities: dict[str, Any], tokenizer: CLIPTokenizer) -> list[str]:
    """What the service would warn about: unknown words, and "tokens" if the prompt is truncated."""
    ids = tokenizer(prompt, add_special_tokens=False).input_ids
    return unknown_words(prompt, abilities) + ["tokens"] * (len(ids) > abilities["token_limit"])


def shown(model: nn.Module, picture: Pixels, things: list[Thing]) -> list[set[str]]:
    """Labels that the judge sees in the whole picture, in all its parts, and in each part."""
    image = to_tensor([picture])
    parts = torch.cat([judge.whole(image), *(judge.part(image, where) for where in judge.PARTS)])
    with torch.inference_mode():
        found: Tensor = model(parts).argmax(dim=1)
    labels = [things[int(index)].label for index in found]
    return [{label} for label in labels]


def is_fine(stranger: Stranger, seen: list[set[str]], warnings: list[str]) -> bool:
    if set(stranger.warn) & set(warnings):
        return True
    anywhere = set().union(*seen)
    if stranger.second:
        return bool(anywhere & set(stranger.right)) and bool(anywhere & set(stranger.second))
    return bool(anywhere & set(stranger.right))
