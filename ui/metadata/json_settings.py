"""Parses settings in JSON: the service's own, and flat objects of other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ui.metadata.comfyui import is_graph, read_graph
from ui.metadata.fields import escaped, to_recipe, with_loras
from ui.metadata.unreadable import UnreadableRecipe
from ui.recipe import Recipe

# Names in lower case without underscores, so that one table covers all spellings.
FIELDS = {
    "prompt": "prompt",
    "positiveprompt": "prompt",  # InvokeAI
    "c": "prompt",  # Draw Things
    "negativeprompt": "negative_prompt",
    "uc": "negative_prompt",  # NovelAI, Draw Things
    "width": "width",
    "height": "height",
    "size": "size",
    "steps": "steps",
    "numinferencesteps": "steps",
    "guidance": "guidance",
    "guidancescale": "guidance",
    "cfgscale": "guidance",
    "scale": "guidance",  # NovelAI, Draw Things
    "seed": "seed",
    "scheduler": "scheduler",
    "sampler": "scheduler",
    "samplername": "scheduler",
    "model": "model",
    "basemodel": "model",  # Fooocus
    "usestablediffusionmodel": "model",  # Easy Diffusion
    "count": "count",
    "numimages": "count",
    "batchsize": "count",
    "clipskip": "clip_skip",
    "strength": "strength",
    "upscale": "upscale",
    "upscalestrength": "upscale_strength",
}
# Facts about the file that don't influence the picture.
IGNORED = {
    "modelrevision",
    "modelhash",
    "basemodelhash",
    "loras",
    "promptsyntax",
    "initimagesha256",
    "masksha256",
    "device",
    "dtype",
    "runtime",
    "version",
    "appversion",
    "swarmversion",
    "metadatascheme",
    "requestid",
    "generationmode",
    "randdevice",
    "createdby",
    "outputformat",
}
# Where programs put the object itself: SwarmUI, InvokeAI 2, ComfyUI's on-line cousins.
WRAPPERS = ("sui_image_params", "image", "extraMetadata")


def parse_json(text: str) -> tuple[Recipe, list[str]]:
    """The recipe, and the names that were not understood.

    Raises:
        UnreadableRecipe: it is not a JSON object, or contains no settings.
    """
    try:
        values = json.loads(text)
    except RecursionError:
        raise UnreadableRecipe("This JSON is nested too deeply.") from None
    except ValueError as error:
        raise UnreadableRecipe(f"This looks like JSON, but is not: {error}.") from None
    if not isinstance(values, dict):
        raise UnreadableRecipe("This JSON holds no settings.")
    return read_object(values)


def read_object(values: Mapping[str, Any]) -> tuple[Recipe, list[str]]:
    """Like `parse_json`, for a parsed object."""
    if is_graph(values):
        return read_graph(values)
    for wrapper in WRAPPERS:
        inner = values.get(wrapper)
        if isinstance(inner, str) and inner.startswith("{"):
            return parse_json(inner)
        if isinstance(inner, dict):
            return read_object(inner)
    return _flat(values)


def _flat(values: Mapping[str, Any]) -> tuple[Recipe, list[str]]:
    found: dict[str, Any] = {}
    labels: dict[str, str] = {}
    unknown = []
    for name, value in values.items():
        key = name.lower().replace("_", "").replace(" ", "")
        field = FIELDS.get(key)
        if field is not None and value is not None:
            found[field], labels[field] = _simple(value), name
        elif field is None and key not in IGNORED:
            unknown.append(name)
    if not found:
        raise UnreadableRecipe("This JSON holds no settings.")
    if "sampler" in values and isinstance(values.get("scheduler"), str):  # beside each other
        found |= {"scheduler": _simple(values["sampler"]), "schedule": values["scheduler"]}
    is_ours = "model_revision" in values
    if not is_ours and found.get("strength") == 1:  # Draw Things writes it without a picture, too
        del found["strength"]
    if values.get("prompt_syntax", "plain" if is_ours else "") == "plain":
        texts = [name for name in ("prompt", "negative_prompt") if isinstance(found.get(name), str)]
        found |= {name: escaped(found[name]) for name in texts}
    if isinstance(found.get("prompt"), str):
        found["prompt"] = with_loras(found["prompt"], values.get("loras"))
    recipe, wrong = to_recipe(found)
    return recipe, [*(labels.get(field, field) for field in wrong), *unknown]


def _simple(value: Any) -> Any:
    """Simplify InvokeAI's values: a model is an object, and old versions' prompts are lists."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict):
        return next((value[n] for n in ("name", "model_name", "prompt") if n in value), "")
    return value
