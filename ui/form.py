"""Converts between a recipe and the form's widget values.

The widgets' values are in Streamlit's session state under these keys, for the whole session and
across pages.
"""

from __future__ import annotations

import random
from collections.abc import MutableMapping
from typing import Any

from ui.recipe import ASPECTS, QUALITIES, SCALES, Abilities, Recipe

CUSTOM = "Custom"
RANDOM_SEED_BELOW = 2**32
PENDING = "_pending_recipe"
NOTES = "_recipe_notes"
DEFAULTS: dict[str, Any] = {
    "prompt": "",
    "negative": "",
    "aspect": "1:1",
    "scale": "1×",
    "quality": "Standard",
    "steps": QUALITIES["Standard"],
    "guidance": 7.5,
    "count": 1,
    "lock": False,
    "scheduler": "",
    "model": "",
    "clip_skip": 1,
    "upscale": 1.0,
    "upscale_strength": 0.5,
}
STRENGTH = "start-strength"  # how far to depart from a picture to start from
STRENGTH_STEP = 0.05

State = MutableMapping[Any, Any]


def of_model(state: State, abilities: Abilities) -> Abilities:
    """What the chosen model offers."""
    return abilities.of(state.get("model", ""))


def use_defaults(state: State, abilities: Abilities) -> None:
    """Steps and guidance as the chosen model wants them."""
    steps = abilities.default_steps
    named = next((name for name, number in QUALITIES.items() if number == steps), CUSTOM)
    state["quality"] = named if steps else DEFAULTS["quality"]
    state["steps"] = steps or DEFAULTS["steps"]
    state["guidance"] = abilities.default_guidance


def settle(state: State, abilities: Abilities) -> None:
    """Give every widget a valid value before the widgets are created."""
    defaults = {**DEFAULTS, "seed": random.randrange(RANDOM_SEED_BELOW)}
    for key, value in defaults.items():
        state.setdefault(key, value)
    if abilities.is_known:
        _keep_within(state, of_model(state, abilities))


def _keep_within(state: State, abilities: Abilities) -> None:
    width, height = abilities.size_for("1:1")
    state.setdefault("width", width)
    state.setdefault("height", height)
    state["steps"] = min(state["steps"], abilities.max_steps)
    state["count"] = min(state["count"], abilities.max_images)
    for key in ("width", "height"):
        state[key] = min(max(state[key], abilities.min_size), abilities.max_size)
    for key, offered in (("scheduler", abilities.schedulers), ("model", abilities.models)):
        if state[key] not in offered:
            state[key] = ""
    state["clip_skip"] = min(state["clip_skip"], abilities.num_text_layers)
    if state["aspect"] != CUSTOM and state["scale"] not in abilities.scales(state["aspect"]):
        state["scale"] = "1×"


def read(state: State, abilities: Abilities) -> Recipe:
    """The recipe in the widgets; default scheduler and model are named explicitly."""
    abilities = of_model(state, abilities)
    width, height = size(state, abilities)
    default_model = abilities.models[0] if abilities.models else ""
    return Recipe(
        prompt=state["prompt"].strip(),
        negative_prompt=state["negative"].strip(),
        width=width,
        height=height,
        steps=steps(state),
        guidance=float(state["guidance"]),
        seed=int(state["seed"]) if state["lock"] else None,
        scheduler=state["scheduler"] or abilities.default_scheduler,
        model=state["model"] or default_model,
        count=int(state["count"]),
        clip_skip=int(state["clip_skip"]),
        upscale=float(state["upscale"]),
        upscale_strength=float(state["upscale_strength"]),
    )


def size(state: State, abilities: Abilities) -> tuple[int, int]:
    """Width and height in pixels; 0 × 0 (native size) if the service has not named it yet."""
    abilities = of_model(state, abilities)
    if state["aspect"] == CUSTOM:
        return int(state.get("width", 0)), int(state.get("height", 0))
    if not abilities.is_known:
        return 0, 0
    return abilities.size_for(state["aspect"], SCALES[state["scale"]])


def steps(state: State) -> int:
    """The number of denoising steps."""
    preset = QUALITIES.get(state["quality"])
    return int(state["steps"]) if preset is None else preset


def write(state: State, recipe: Recipe, abilities: Abilities) -> None:
    """Fill the widgets from a recipe within the limits."""
    abilities = abilities.of(recipe.model)
    state["prompt"] = recipe.prompt
    state["negative"] = recipe.negative_prompt
    state["aspect"], state["scale"] = _preset_of(recipe, abilities)
    if recipe.width:
        state["width"], state["height"] = recipe.width, recipe.height
    state["quality"] = next((q for q, n in QUALITIES.items() if n == recipe.steps), CUSTOM)
    state["steps"] = recipe.steps
    state["guidance"] = recipe.guidance
    state["scheduler"] = _unless_default(recipe.scheduler, abilities.default_scheduler)
    state["model"] = _unless_default(recipe.model, next(iter(abilities.models), ""))
    state["count"] = recipe.count
    state["clip_skip"] = recipe.clip_skip
    state["upscale"] = recipe.upscale
    state["upscale_strength"] = _on_scale(recipe.upscale_strength)
    if recipe.strength is not None:
        state[STRENGTH] = _on_scale(recipe.strength)
    state["lock"] = recipe.seed is not None
    if recipe.seed is not None:
        state["seed"] = recipe.seed


def _preset_of(recipe: Recipe, abilities: Abilities) -> tuple[str, str]:
    if not recipe.width:
        return "1:1", "1×"
    for aspect in ASPECTS:
        for scale in abilities.scales(aspect):
            if abilities.size_for(aspect, SCALES[scale]) == (recipe.width, recipe.height):
                return aspect, scale
    return CUSTOM, "1×"


def _on_scale(strength: float) -> float:
    """The nearest value of a slider for strengths."""
    return max(STRENGTH_STEP, round(round(strength / STRENGTH_STEP) * STRENGTH_STEP, 2))


def _unless_default(name: str, default: str) -> str:
    return "" if name == default else name
