"""Converts recipes to and from links."""

from __future__ import annotations

from collections.abc import Mapping

from ui.metadata.fields import to_recipe
from ui.recipe import Recipe

LINK_NAMES = {
    "prompt": "prompt",
    "negative": "negative_prompt",
    "w": "width",
    "h": "height",
    "steps": "steps",
    "cfg": "guidance",
    "seed": "seed",
    "scheduler": "scheduler",
    "model": "model",
    "n": "count",
    "clip": "clip_skip",
    "up": "upscale",
    "ups": "upscale_strength",
}
OMITTED = {"clip_skip": 1, "upscale": 1.0, "upscale_strength": 0.5}  # as they are by default


def to_link(recipe: Recipe) -> dict[str, str]:
    """Query parameters that restore these settings; unset ones are omitted."""
    values = {n: v for n, v in recipe.to_dict().items() if v != OMITTED.get(n, "")}
    pairs = ((short, values.get(name)) for short, name in LINK_NAMES.items())
    return {short: str(value) for short, value in pairs if value is not None}


def from_link(query: Mapping[str, str]) -> Recipe | None:
    """The recipe in query parameters, or None if there is none."""
    found = {name: query[short] for short, name in LINK_NAMES.items() if short in query}
    return to_recipe(found)[0] if found else None
