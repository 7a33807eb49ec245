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
}


def to_link(recipe: Recipe) -> dict[str, str]:
    """Query parameters that restore these settings; unset ones are omitted."""
    values = recipe.to_dict()
    pairs = ((short, values[name]) for short, name in LINK_NAMES.items())
    return {short: str(value) for short, value in pairs if value not in ("", None)}


def from_link(query: Mapping[str, str]) -> Recipe | None:
    """The recipe in query parameters, or None if there is none."""
    found = {name: query[short] for short, name in LINK_NAMES.items() if short in query}
    return to_recipe(found)[0] if found else None
