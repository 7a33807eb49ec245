"""model_index.json: what a folder in diffusers layout says that its parts are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from backend.errors import ModelFailed

INDEX = "model_index.json"


def read_index(folder: Path) -> dict[str, Any]:
    """Which class each part of the folder's pipeline has.

    Raises:
        ModelFailed: there is no such file, or it is broken.
    """
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFailed(f"{folder} is no model in diffusers layout: it has no {INDEX}.") from None
    except ValueError:
        raise ModelFailed(f"{path} is not JSON.") from None
    if not isinstance(index, dict):
        raise ModelFailed(f"{path} is not a JSON object.")
    return index


def names_safety_checker(index: dict[str, Any]) -> bool:
    """Whether the pipeline looks at its pictures."""
    return _class_of(index, "safety_checker") is not None


def expect(index: dict[str, Any], part: str, supported: tuple[str, ...]) -> str:
    """The part's class.

    Raises:
        ModelFailed: it is none of `supported`.
    """
    found = _class_of(index, part)
    if found not in supported:
        names = " or ".join(sorted(supported))
        raise ModelFailed(f"Its {part} is {found or 'missing'}: supported is {names}.")
    return found


def _class_of(index: dict[str, Any], part: str) -> str | None:
    entry = index.get(part)
    return entry[1] if isinstance(entry, list) and len(entry) == 2 else None
