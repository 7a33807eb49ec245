"""Converts values written by other programs to the fields of a recipe."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from ui.recipe import Recipe

# Larger numbers are mistakes or attacks: no program uses as many steps or pixels.
MAX_NUMBER = 1_000_000
MAX_LORAS = 16
MAX_SEED = 2**64 - 1  # of other programs; the service's own limit is lower
FLOATS = ("guidance", "strength", "upscale", "upscale_strength")
MAX_NAME_CHARACTERS = {"scheduler": 40, "model": 200}
# Samplers as AUTOMATIC1111, InvokeAI and ComfyUI name them, in lower case -> as the service does.
SAMPLERS = {
    "euler": "euler",
    "heun": "heun",
    "lms": "lms",
    "ddim": "ddim",
    "ddpm": "ddpm",
    "pndm": "pndm",
    "unipc": "unipc",
    "lcm": "lcm",
    "tcd": "tcd",
    "euler a": "euler_ancestral",
    "euler_a": "euler_ancestral",
    "k_euler_a": "euler_ancestral",
    "k_euler": "euler",
    "k_heun": "heun",
    "k_lms": "lms",
    "k_dpmpp_2m": "dpmpp_2m",
    "plms": "pndm",
    "dpm++ 2m": "dpmpp_2m",
    "dpm++ 2m karras": "dpmpp_2m_karras",
    "dpm++ 2m sde": "dpmpp_2m_sde",
    "dpmpp_2m karras": "dpmpp_2m_karras",
    "dpmpp_2m_k": "dpmpp_2m_karras",
    "dpmpp_2m_sde_gpu": "dpmpp_2m_sde",
    "uni_pc": "unipc",
    "undefined": "",
    "default": "",
}
# Schedules that are the samplers' defaults.
PLAIN_SCHEDULES = {"", "automatic", "normal", "default", "uniform", "none", "undefined"}


def to_recipe(values: Mapping[str, Any]) -> tuple[Recipe, list[str]]:
    """Build a recipe from values by field name; also returns the names that were not understood.

    Invalid or unreasonable numbers are replaced by defaults. `schedule` may be given in addition to
    `scheduler`, and `size` instead of width and height.
    """
    values = _split_size(_join_schedule(values))
    default = Recipe()
    found: dict[str, Any] = {}
    wrong = []
    for name, value in values.items():
        kept = _converted(name, value, getattr(default, name))
        if kept is not None:
            found[name] = kept
        elif not _means_random(name, value):
            wrong.append(name)
    return Recipe(**found), wrong


def escaped(text: str) -> str:
    """A plain prompt as the studio, which reads brackets as weights, has to write it."""
    return re.sub(r"[\\()\[\]]", lambda sign: f"\\{sign[0]}", text)


def with_loras(prompt: str, loras: Any) -> str:
    """The prompt with a tag for each of the service's own `loras` objects."""
    tags = []
    for lora in loras if isinstance(loras, list) else []:
        if isinstance(lora, dict) and isinstance(lora.get("name"), str):
            scale = _scale(lora.get("scale"))
            tags.append(f"<lora:{lora['name']}:{scale:g}>")
    return " ".join([prompt, *tags[:MAX_LORAS]])


def _scale(value: Any) -> float:
    is_number = isinstance(value, (int, float)) and math.isfinite(value)
    return float(value) if is_number else 1.0


def clean(text: str) -> str:
    """Remove lone surrogates and control characters, which databases and services refuse."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "".join(sign for sign in whole if sign >= " " or sign in "\n\t")


def _converted(name: str, value: Any, default: Any) -> Any:
    if name in ("scheduler", "model"):
        word = clean(str(value)).strip()[: MAX_NAME_CHARACTERS[name]]
        return SAMPLERS.get(word.lower(), word) if name == "scheduler" else word
    if isinstance(default, str):
        return clean(str(value))
    if name == "seed":
        return _seed(value)
    number = _number(value)
    return number if number is None or name in FLOATS else int(number)


def _join_schedule(values: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(values)
    schedule = str(found.pop("schedule", "")).strip().lower()
    if schedule not in PLAIN_SCHEDULES:
        found["scheduler"] = f"{found.get('scheduler', '')} {schedule}"
    return found


def _split_size(values: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(values)
    if "size" in found:
        found["width"], _, found["height"] = str(found.pop("size")).lower().partition("x")
    return found


def _means_random(name: str, value: Any) -> bool:
    return name == "seed" and str(value).strip() in ("-1", "")


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 <= number <= MAX_NUMBER else None


def _seed(value: Any) -> int | None:
    """A whole number; parsing as float would lose digits of a large seed."""
    text = str(value).strip() if isinstance(value, str) or _is_small(value) else ""
    if not text.isdecimal() or len(text) > len(str(MAX_SEED)):
        return None
    seed = int(text)
    return seed if seed <= MAX_SEED else None


def _is_small(value: Any) -> bool:
    """Python refuses to write integers of more than 4,300 digits."""
    return isinstance(value, int) and -1 <= value <= MAX_SEED
