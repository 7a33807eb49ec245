"""Reads ComfyUI's node graph, which it writes into every PNG, if it is simple enough.

A graph maps node ids to {"class_type": …, "inputs": {name: value, or a link [id, output]}}. It must
have exactly one sampler, whose prompts are linked to texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ui.metadata.fields import to_recipe
from ui.metadata.unreadable import UnreadableRecipe
from ui.recipe import Recipe

Node = Mapping[str, Any]
SAMPLERS = ("KSampler", "KSamplerAdvanced")
MAX_LINKS = 20  # limit when following links from a sampler
TOO_COMPLEX = UnreadableRecipe(
    "ComfyUI made this picture by a graph of nodes that has no settings of the usual kind: "
    "only graphs with one KSampler can be read."
)


def is_graph(values: Mapping[str, Any]) -> bool:
    """Whether an object is a graph, that is, all its values are nodes."""
    return bool(values) and all(
        isinstance(node, dict) and "class_type" in node for node in values.values()
    )


def read_graph(graph: Mapping[str, Any]) -> tuple[Recipe, list[str]]:
    """The recipe, and the inputs of the sampler that were not understood.

    Raises:
        UnreadableRecipe: there is not exactly one sampler, or its prompt is not a text.
    """
    samplers = [node for node in graph.values() if node["class_type"] in SAMPLERS]
    if len(samplers) != 1:
        raise TOO_COMPLEX
    inputs = _inputs(samplers[0])
    prompt = _find(graph, inputs.get("positive"), "text")
    if not isinstance(prompt, str):
        raise TOO_COMPLEX
    found = {
        "prompt": prompt,
        "negative_prompt": _find(graph, inputs.get("negative"), "text"),
        "width": _find(graph, inputs.get("latent_image"), "width"),
        "height": _find(graph, inputs.get("latent_image"), "height"),
        "steps": inputs.get("steps"),
        "guidance": inputs.get("cfg"),
        "seed": inputs.get("seed", inputs.get("noise_seed")),
        "scheduler": inputs.get("sampler_name"),
        "schedule": inputs.get("scheduler"),
        "model": _without_ending(_find(graph, inputs.get("model"), "ckpt_name")),
    }
    simple = {name: value for name, value in found.items() if isinstance(value, str | int | float)}
    recipe, wrong = to_recipe(simple)
    denoise = inputs.get("denoise", 1)
    return recipe, wrong if denoise == 1 else [*wrong, "denoise"]


def _inputs(node: Node) -> Mapping[str, Any]:
    inputs = node.get("inputs")
    return inputs if isinstance(inputs, dict) else {}


def _find(graph: Mapping[str, Any], link: Any, name: str) -> Any:
    """The first value called `name` when following a link; None if there is none."""
    for _ in range(MAX_LINKS):
        node = graph.get(str(link[0])) if isinstance(link, list) and link else None
        if not isinstance(node, dict):
            return None
        inputs = _inputs(node)
        value = inputs.get(name)
        if value is not None and not isinstance(value, list):
            return value
        ways = (
            [value]
            if isinstance(value, list)
            else [one for one in inputs.values() if isinstance(one, list)]
        )
        link = ways[0] if ways else None
    return None


def _without_ending(name: Any) -> Any:
    return name.rpartition(".")[0] or name if isinstance(name, str) else name
