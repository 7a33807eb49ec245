"""Reads the things that the model can draw: things.txt, with pictures and names of packages."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from training import paths

LANGUAGES = ("de", "es", "fr")
"""Languages beside English in which a thing has a label."""
EMOJIBASE, EMOJILIB = "emojibase-data-17.0.0/package", "emojilib-4.0.3/package"
RENDERINGS = "lobehub-fluent-emoji-3d-1.1.0/package/assets"
DRAWINGS = "iconify-json-fluent-emoji-flat-1.2.6/package"
GROUPS = (
    *("faces", "people", "", "animals and nature", "food", "travel and places"),
    *("activities", "objects", "symbols", "flags"),
)
"""Names of emojibase's groups; the third holds parts of emoji, none of which is a thing."""


@dataclass(frozen=True)
class Thing:
    """One thing that the model can draw."""

    label: str
    aliases: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    mirrors: bool = True
    fills: bool = False
    file: str = ""
    """The 3D rendering, a picture with alpha."""
    drawing: str = ""
    """The flat drawing, as SVG; empty where there is none."""
    emoji: str = ""
    group: str = "objects"
    foreign: tuple[tuple[str, str], ...] = ()
    """Pairs of language and name, each language's label first."""


def _plain(codepoints: str) -> str:
    """An emoji's code points without the variation selector, on which the packages disagree."""
    return codepoints.lower().replace("-fe0f", "")


def _words(keyword: str) -> str:
    return keyword.replace("_", " ").replace("’", "'").lower().strip()


def _read_line(line: str) -> tuple[str, tuple[str, ...]]:
    name, _, rest = line.partition("|")
    aliases = tuple(word.strip() for word in rest.split(",") if word.strip())
    return name.lstrip("=+").strip(), aliases


@cache
def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _labels(packages: Path, language: str) -> dict[str, list[str]]:
    """Label and tags by code points."""
    entries = _json(packages / EMOJIBASE / language / "data.json")
    return {
        _plain(entry["hexcode"]): [_words(w) for w in (entry["label"], *entry.get("tags", []))]
        for entry in entries
    }


def _drawing(packages: Path, codepoints: str) -> str:
    names: dict[str, str] = _json(packages / DRAWINGS / "chars.json")
    icons = _json(packages / DRAWINGS / "icons.json")
    name = names.get(codepoints)
    if name is None or name not in icons["icons"]:
        return ""
    side = icons.get("width", 32)
    body = icons["icons"][name]["body"]
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}">{body}</svg>'


def read_things(packages: Path) -> list[Thing]:
    """The things of things.txt, each with its pictures and all its names."""
    files = {_plain(file.stem): str(file) for file in (packages / RENDERINGS).glob("*.webp")}
    entries = {entry["label"]: entry for entry in _json(packages / EMOJIBASE / "en/data.json")}
    keywords: dict[str, list[str]] = _json(packages / EMOJILIB / "dist/emoji-en-US.json")
    labels = {language: _labels(packages, language) for language in LANGUAGES}
    things = []
    for line in paths.THINGS.read_text("utf-8").splitlines():
        if "|" not in line or line.startswith("#"):
            continue
        label, aliases = _read_line(line)
        entry = entries[label]
        code = _plain(entry["hexcode"])
        words = [*keywords.get(entry["emoji"], []), *entry.get("tags", [])]
        things.append(
            Thing(
                label=label.replace("’", "'"),
                aliases=aliases,
                keywords=tuple(dict.fromkeys(_words(word) for word in words)),
                mirrors=line[0] != "=",
                fills=line[0] == "+",
                file=files[code],
                drawing=_drawing(packages, code),
                emoji=entry["emoji"],
                group=GROUPS[entry["group"]],
                foreign=tuple((lang, word) for lang in LANGUAGES for word in labels[lang][code]),
            )
        )
    return things
