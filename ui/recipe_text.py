"""Recipes as text: links, and the parameters that image files carry."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from PIL import Image, UnidentifiedImageError

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
# As AUTOMATIC1111 and its relatives name them, in lower case -> as the service does.
SAMPLERS = {
    "euler a": "euler_ancestral",
    "euler": "euler",
    "heun": "heun",
    "lms": "lms",
    "ddim": "ddim",
    "ddpm": "ddpm",
    "plms": "pndm",
    "pndm": "pndm",
    "unipc": "unipc",
    "lcm": "lcm",
    "dpm++ 2m": "dpmpp_2m",
    "dpm++ 2m karras": "dpmpp_2m_karras",
    "dpm++ 2m sde": "dpmpp_2m_sde",
}
# The service's own words and AUTOMATIC1111's API words for the same things.
JSON_NAMES = {
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "cfg_scale": "guidance",
    "num_images": "count",
    "batch_size": "count",
    "sampler_name": "scheduler",
}
INFOTEXT_NAMES = {
    "steps": "steps",
    "cfg scale": "guidance",
    "seed": "seed",
    "sampler": "scheduler",
    "model": "model",
}
# What files tell beside the recipe.
IGNORED_JSON = {"model_revision", "loras", "device", "dtype", "runtime", "version", "request_id"}
IGNORED_INFO = {"schedule type", "model hash", "version", "size"}
PAIR = re.compile(r'\s*([\w /+-]+?):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')
# EXIF tag of the user comment, and the folder that it lies in.
EXIF_FOLDER, EXIF_USER_COMMENT = 0x8769, 0x9286


class UnreadableRecipe(ValueError):
    """The text or file holds no parameters; the message says so to a person."""


def to_link(recipe: Recipe) -> dict[str, str]:
    """Query parameters that bring these settings back; what is unset is left out."""
    values = recipe.to_dict()
    pairs = ((short, values[name]) for short, name in LINK_NAMES.items())
    return {short: str(value) for short, value in pairs if value not in ("", None)}


def from_link(query: Mapping[str, str]) -> Recipe | None:
    """The recipe within query parameters, or None where they hold none."""
    found = {name: query[short] for short, name in LINK_NAMES.items() if short in query}
    return _recipe(found) if found else None


def parse(text: str) -> tuple[Recipe, list[str]]:
    """Read our JSON, the service's JSON or AUTOMATIC1111's infotext.

    Returns:
        The recipe, and the names that were not understood.

    Raises:
        UnreadableRecipe: the text is neither.
    """
    text = text.strip()
    if text.startswith("{"):
        return _parse_json(text)
    return _parse_infotext(text)


def read_file(data: bytes) -> tuple[Recipe, list[str]]:
    """Read the parameters that an image file carries; as `parse`.

    Raises:
        UnreadableRecipe: no image, or one without parameters.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            text = _embedded_text(picture)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise UnreadableRecipe("This is not a picture that can be read.") from error
    if not text:
        raise UnreadableRecipe("This picture carries no parameters.")
    return parse(text)


def _embedded_text(picture: Image.Image) -> str:
    for name in ("text2image", "parameters"):  # the exact ones first
        text = picture.info.get(name)
        if isinstance(text, str):
            return text
    exif: Any = picture.getexif()
    comment = exif.get_ifd(EXIF_FOLDER).get(EXIF_USER_COMMENT, b"")
    if isinstance(comment, str):
        return comment
    return _decoded_comment(bytes(comment))


def _decoded_comment(comment: bytes) -> str:
    """EXIF's user comment: eight bytes that name the encoding, then the text."""
    if comment.startswith(b"UNICODE\0"):
        body = comment[8:]
        # Byte order is not told; the zeros of the ASCII within tell it.
        encoding = "utf-16-be" if body[::2].count(0) > body[1::2].count(0) else "utf-16-le"
        return body.decode(encoding, errors="replace")
    return comment.removeprefix(b"ASCII\0\0\0").decode("utf-8", errors="replace")


def _parse_json(text: str) -> tuple[Recipe, list[str]]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UnreadableRecipe(f"This looks like JSON, but is not: {error}.") from error
    renamed = {JSON_NAMES.get(name, name): value for name, value in values.items()}
    known = set(Recipe.__dataclass_fields__)
    if not known & renamed.keys():
        raise UnreadableRecipe("This JSON holds no parameters.")
    unknown = [n for n in renamed if n not in known and n not in IGNORED_JSON]
    return _recipe({n: v for n, v in renamed.items() if n in known and v is not None}), unknown


def _parse_infotext(text: str) -> tuple[Recipe, list[str]]:
    """`prompt` lines, `Negative prompt:` lines, then one line of `Name: value` pairs."""
    lines = text.splitlines()
    if not lines or not re.search(r"(^|, ?)Steps: \d", lines[-1]):
        raise UnreadableRecipe("These are not parameters: no line with “Steps: …” at the end.")
    prompt, _, negative = "\n".join(lines[:-1]).partition("Negative prompt:")
    found: dict[str, Any] = {"prompt": prompt.strip(), "negative_prompt": negative.strip()}
    unknown = []
    for name, value in _pairs(lines[-1]):
        low = name.lower()
        if low == "size":
            found["width"], _, found["height"] = value.partition("x")
        elif low in INFOTEXT_NAMES:
            found[INFOTEXT_NAMES[low]] = value
        elif low not in IGNORED_INFO:
            unknown.append(name)
    pairs = {name.lower(): value for name, value in _pairs(lines[-1])}
    if pairs.get("schedule type", "").lower() == "karras":
        found["scheduler"] = f"{found.get('scheduler', '')} karras"
    return _recipe(found), unknown


def _pairs(line: str) -> list[tuple[str, str]]:
    return [(m[1].strip(), m[2].strip().strip('"')) for m in PAIR.finditer(line)]


def _recipe(values: Mapping[str, Any]) -> Recipe:
    """Texts and numbers, as found, to a recipe; what is no number keeps its default."""
    default = Recipe()
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(getattr(default, name), str):
            found[name] = str(value)
            continue
        number = _number(name, value)
        if number is not None or name == "seed":
            found[name] = number
    scheduler = str(found.get("scheduler", "")).strip()
    found["scheduler"] = SAMPLERS.get(scheduler.lower(), scheduler)
    return Recipe(**found)


def _number(name: str, value: Any) -> float | None:
    if name == "guidance":
        return _float(value)
    return _seed(value) if name == "seed" else _int(value)


def _int(value: Any) -> int | None:
    number = _float(value)
    return None if number is None else int(number)


def _float(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _seed(value: Any) -> int | None:
    """Whole numbers alone: a float would lose the last digits of a large seed."""
    try:
        seed = int(str(value))
    except ValueError:
        return None
    return seed if seed >= 0 else None
