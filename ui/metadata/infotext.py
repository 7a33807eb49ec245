"""Parses infotext, the format of AUTOMATIC1111's web UI, which most programs can read.

It consists of prompt lines, lines starting with `Negative prompt:`, and one line of `Name: value`
pairs that include `Steps`. All scans are linear, since the texts are untrusted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ui.metadata.fields import escaped, to_recipe
from ui.metadata.unreadable import UnreadableRecipe
from ui.recipe import Recipe

STEPS = "Steps:"
NEGATIVE = "Negative prompt:"
FIELDS = {
    "steps": "steps",
    "cfg scale": "guidance",
    "seed": "seed",
    "sampler": "scheduler",
    "schedule type": "schedule",  # AUTOMATIC1111 and Forge
    "scheduler": "schedule",  # SD.Next
    "model": "model",
    "size": "size",
    "clip skip": "clip_skip",
    "denoising strength": "strength",
    "hires upscale": "upscale",
}
# Facts about the file that don't influence the picture.
IGNORED = {
    "hires upscaler",  # Lanczos here
    "prompt syntax",
    "model hash",
    "version",
    "app",
    "parser",
    "pipeline",
    "operations",
    "user",
    "created date",
    "lora hashes",
    "ti hashes",
    "hashes",
    "civitai resources",
    "civitai metadata",
}
MAX_PAIRS = 500
MAX_NAME_CHARACTERS = 60
NAME_SIGNS = frozenset(" -/_+.()")


def is_infotext(text: str) -> bool:
    """Whether the text contains a line of settings."""
    return any(_steps_in(line) is not None for line in text.split("\n"))


def parse_infotext(text: str) -> tuple[Recipe, list[str]]:
    """The recipe, and the names that were not understood.

    Raises:
        UnreadableRecipe: there is no line of settings.
    """
    prompt, negative, settings = _parts(text.replace("\r\n", "\n").strip())
    found: dict[str, Any] = {"prompt": prompt, "negative_prompt": negative}
    labels = {}
    unknown = []
    for name, value in pairs(settings):
        field = FIELDS.get(name.lower())
        if field is not None:
            found[field], labels[field] = value, name
        elif name.lower() not in IGNORED:
            unknown.append(name)
    if "upscale" in found and "strength" in found:  # AUTOMATIC1111 has one name for both
        found["upscale_strength"] = found.pop("strength")
        labels["upscale_strength"] = labels.pop("strength")
    if settings_are_ours(settings) and "Prompt syntax:" not in settings:
        found |= {name: escaped(found[name]) for name in ("prompt", "negative_prompt")}
    recipe, wrong = to_recipe(found)
    return recipe, [*(labels.get(field, "Size") for field in wrong), *unknown]


def settings_are_ours(line: str) -> bool:
    """Whether this service wrote the line: its prompts are plain unless it says otherwise."""
    return "Version: text2image " in line


def pairs(line: str) -> Iterator[tuple[str, str]]:
    """The `Name: value` pairs of a line; everything else is skipped."""
    position = 0
    for _ in range(MAX_PAIRS):
        colon = line.find(":", position)
        if colon < 0:
            return
        name = line[position:colon].rpartition(",")[2].strip()
        value, position = _value(line, colon + 1)
        if _is_name(name):
            yield name, value


def _value(line: str, start: int) -> tuple[str, int]:
    """The value at `start`, and the position of the next pair.

    Texts with commas are quoted as in JSON; model-sharing sites also write lists and objects.
    """
    while line[start : start + 1].isspace():
        start += 1
    if line[start : start + 1] in ('"', "[", "{"):
        try:
            value, end = json.JSONDecoder().raw_decode(line, start)
        except (ValueError, RecursionError):
            pass
        else:
            comma = _comma(line, end)
            if not line[end:comma].strip():
                return (value if isinstance(value, str) else line[start:end]), comma + 1
    comma = _comma(line, start)
    return line[start:comma].strip().strip('"'), comma + 1


def _comma(line: str, start: int) -> int:
    comma = line.find(",", start)
    return comma if comma >= 0 else len(line)


def _is_name(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME_CHARACTERS and all(
        sign.isalnum() or sign in NAME_SIGNS for sign in name
    )


def _parts(text: str) -> tuple[str, str, str]:
    """Prompt, negative prompt and settings."""
    lines = text.split("\n")
    number, start = _settings_place(lines)
    head = lines[number][:start]
    above = [*lines[:number], head] if head.strip() else lines[:number]
    settings = lines[number][start:]
    # A viewer may have broken the settings into several lines.
    below = iter(lines[number + 1 :])
    wrapped = []
    while settings.rstrip().endswith(",") and (line := next(below, None)) is not None:
        wrapped.append(settings)
        settings = line
    prompt, negative = _prompts(above, is_on_one_line=bool(head.strip()))
    return prompt, negative, "".join([*wrapped, settings])


def _settings_place(lines: list[str]) -> tuple[int, int]:
    """The line and column where the settings start.

    It is the last line that starts with the steps (extensions may add lines after it); otherwise a
    line of pairs that contains the steps; otherwise the steps inside text copied into one line.

    Raises:
        UnreadableRecipe: there are no steps.
    """
    backwards = range(len(lines) - 1, -1, -1)
    places = {number: _steps_in(lines[number]) for number in backwards}
    for number, place in places.items():
        if place is not None and not lines[number][:place].strip():
            return number, place
    for number, place in places.items():
        if place is not None and _is_list(lines[number][:place]):
            return number, 0
    for number, place in places.items():
        if place is not None:
            return number, place
    raise UnreadableRecipe("These are not settings: no line with “Steps: …” is within.")


def _is_list(before: str) -> bool:
    """Whether a text is a list of pairs: it starts with a known name and ends with a comma."""
    first = before.partition(":")[0].strip()
    return (
        before.rstrip().endswith(",")
        and before.count(":") > 0
        and _is_name(first)
        and (first.lower() in FIELDS or first.lower() in IGNORED)
    )


def _steps_in(line: str) -> int | None:
    """Position of the last separate word `Steps:` that is followed by a number."""
    place = line.rfind(STEPS)
    while place >= 0:
        end = place + len(STEPS)
        before, after = line[place - 1 : place], line[end : end + 20].lstrip()
        if (place == 0 or before.isspace() or before in ",.") and after[:1].isdigit():
            return place
        place = line.rfind(STEPS, 0, place)
    return None


def _prompts(lines: list[str], *, is_on_one_line: bool) -> tuple[str, str]:
    """Split at the first line that starts with `Negative prompt:`; it may occur inside texts."""
    for number, line in enumerate(lines):
        if line.lstrip().startswith(NEGATIVE):
            first = line.lstrip().removeprefix(NEGATIVE)
            negative = "\n".join([first, *lines[number + 1 :]])
            return "\n".join(lines[:number]).strip(), negative.strip()
    text = "\n".join(lines)
    if is_on_one_line:
        prompt, _, negative = text.rpartition(NEGATIVE) if NEGATIVE in text else (text, "", "")
        return prompt.strip(), negative.strip()
    return text.strip(), ""
