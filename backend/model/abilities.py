"""Reads `abilities.json` of a model's folder, and the thumbnails of its examples."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backend.abilities import Abilities, Example, Thing

LOG = logging.getLogger(__name__)
FILE = "abilities.json"
EXAMPLES = "examples"
MAX_THUMBNAIL_BYTES = 64 * 1024


def read_abilities(folder: Path) -> Abilities | None:
    """The abilities of the model in `folder`; None if there is no file or it is invalid."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return _parse(json.loads(path.read_text(encoding="utf-8")), folder / EXAMPLES)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        LOG.warning("%s can't be read (%s): the model is served without it", path, error)
        return None


def thumbnail_name(prompt: str, seed: int) -> str:
    """The file name of an example's thumbnail."""
    return f"{re.sub(r'[^a-z0-9]+', '-', prompt.lower()).strip('-')[:60]}-{seed}.webp"


def _parse(found: Mapping[str, Any], pictures: Path) -> Abilities:
    return Abilities(
        about=str(found.get("about", "")),
        languages=tuple(found.get("languages", ("en",))),
        reads_emoji=bool(found.get("reads_emoji", False)),
        token_limit=int(found.get("token_limit", 0)),
        sizes=tuple((int(s["width"]), int(s["height"])) for s in found.get("sizes", ())),
        things=_things(found),
        colours=_words(found, "colours"),
        backgrounds=_words(found, "backgrounds"),
        landscapes=_words(found, "landscapes"),
        looks=_words(found, "looks"),
        counts=_words(found, "counts"),
        compositions=_words(found, "composition"),
        pairs_right=float(found.get("pairs_right", 1.0)),
        modifiers=tuple(found.get("modifiers", ())),
        skips_unknown=bool(found.get("skips_unknown", False)),
        near=_words(found, "near"),
        examples=tuple(_example(e, pictures) for e in found.get("examples", ())),
    )


def _words(found: Mapping[str, Any], key: str) -> dict[str, tuple[str, ...]]:
    return {name: tuple(words) for name, words in found.get(key, {}).items()}


def _things(found: Mapping[str, Any]) -> tuple[Thing, ...]:
    """The things in the order of their groups."""
    order = {group: place for place, group in enumerate(found.get("groups", ()))}
    things = sorted(found.get("things", ()), key=lambda t: order.get(t["group"], len(order)))
    return tuple(
        Thing(
            name=thing["name"],
            group=thing["group"],
            emoji=thing.get("emoji", ""),
            synonyms=tuple(thing.get("also", ())),
            other_words=(
                *thing.get("plural", ()),
                *(name for names in thing.get("labels", {}).values() for name in names),
            ),
        )
        for thing in things
    )


def _example(found: Mapping[str, Any], pictures: Path) -> Example:
    prompt, seed = str(found["prompt"]), int(found["seed"])
    path = pictures / thumbnail_name(prompt, seed)
    if not path.is_file() or path.stat().st_size > MAX_THUMBNAIL_BYTES:
        return Example(prompt, seed)
    return Example(prompt, seed, path.read_bytes())
