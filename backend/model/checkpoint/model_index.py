"""Reads model_index.json, which lists the parts of a folder in diffusers layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from backend.errors import ModelFailed

INDEX = "model_index.json"
# diffusers pipelines of other model families, or with other inputs than text.
OTHER_PIPELINES = {
    "StableDiffusionXL": "a Stable Diffusion XL model",
    "StableDiffusion3": "a Stable Diffusion 3 model",
    "Flux": "a Flux model",
    "StableDiffusionInstructPix2Pix": "an instruct-pix2pix model",
    "StableDiffusionDepth2Img": "a depth-to-image model",
    "StableDiffusionUpscale": "an upscaling model",
    "StableDiffusionLatentUpscale": "an upscaling model",
    "StableDiffusionControlNet": "a ControlNet pipeline",
}
# Alternative sets of files of each part without weights.
FILES = {
    "tokenizer": (("tokenizer.json",), ("vocab.json", "merges.txt")),
    "scheduler": (("scheduler_config.json",),),
}


def read_index(folder: Path) -> dict[str, Any]:
    """The parsed model_index.json.

    Raises:
        ModelFailed: it is missing, broken, or names an unsupported pipeline.
    """
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFailed(
            f"{folder} is no model in diffusers layout: it has no {INDEX}.{_hint(folder)}"
        ) from None
    except ValueError:
        raise ModelFailed(f"{path} is not JSON.") from None
    if not isinstance(index, dict):
        raise ModelFailed(f"{path} is not a JSON object.")
    for beginning, kind in OTHER_PIPELINES.items():
        if str(index.get("_class_name")).startswith(beginning):
            raise ModelFailed(f"It is {kind}: served are Stable Diffusion 1.x, 2.x and SD-Turbo.")
    return index


def check_files(folder: Path, part: str) -> None:
    """Check that the files of a part in `FILES` exist.

    Raises:
        ModelFailed: with the names of the missing files.
    """
    sets = FILES[part]
    if not any(all((folder / part / name).is_file() for name in names) for names in sets):
        names = " or ".join(" and ".join(names) for names in sets)
        raise ModelFailed(f"Its {part} is missing: no {names} in {folder / part}.")


def _hint(folder: Path) -> str:
    """A hint if the folder looks like a hub cache or holds single files."""
    if folder.name.startswith("models--"):
        model = folder.name.removeprefix("models--").replace("--", "/")
        return f" It is the hub's cache of a model: set MODEL={model}."
    files = sorted(path.name for path in folder.glob("*.safetensors"))
    return f" It holds files of weights: set MODEL to one, {files[0]} for example." if files else ""


def names_safety_checker(index: dict[str, Any]) -> bool:
    """Whether the pipeline has a safety checker."""
    return _class_of(index, "safety_checker") is not None


def expect(index: dict[str, Any], part: str, supported: tuple[str, ...]) -> str:
    """The class name of a part.

    Raises:
        ModelFailed: it is not in `supported`.
    """
    found = _class_of(index, part)
    if found not in supported:
        names = " or ".join(sorted(supported))
        raise ModelFailed(f"Its {part} is {found or 'missing'}: supported is {names}.")
    return found


def _class_of(index: dict[str, Any], part: str) -> str | None:
    entry = index.get(part)
    return entry[1] if isinstance(entry, list) and len(entry) == 2 else None
