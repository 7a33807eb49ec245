"""Resolves the setting MODEL: a hub id, a folder or a single file."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from backend.config import EMBEDDED_MODELS, Settings, is_hub_id
from backend.errors import ModelFailed
from backend.model.checkpoint.hub import cached_folder

STABLE_DIFFUSION = "CompVis/stable-diffusion-v1-4"
SD1 = Path(__file__).parent / "sd1"  # configs and tokenizer, which a single file lacks
SINGLE_FILES = (".safetensors", ".ckpt")


class Kind(enum.Enum):
    """How a source is read."""

    HUB = "hub"
    FOLDER = "folder"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Source:
    """A model to load.

    `note` says why `auto` picked this one; `vae`, an id or path, replaces the
    checkpoint's autoencoder.
    """

    kind: Kind
    location: str  # a Hugging Face id, or a path
    revision: str | None = None
    note: str = ""
    given_name: str = ""
    vae: str | None = None

    @property
    def name(self) -> str:
        """The model's name for clients: as given, the id, or the folder's or file's name."""
        if self.given_name:
            return self.given_name
        if self.kind is Kind.HUB:
            return self.location
        # abspath keeps symbolic links: in the hub's cache their targets are named by hash.
        path = Path(os.path.abspath(self.location))
        return path.stem if self.kind is Kind.FILE else path.name

    @property
    def shown(self) -> str:
        """The id, or the path (relative to the working folder if inside it), for clients."""
        path, here = Path(self.location), Path.cwd()
        return str(path.relative_to(here)) if path.is_relative_to(here) else self.location


def resolve_source(settings: Settings, embedded: Path = EMBEDDED_MODELS) -> Source:
    """Resolve `settings.model` and `settings.vae`.

    `auto` is Stable Diffusion 1.4 if CUDA is available and the model is in the hub's cache,
    otherwise the embedded model.

    Raises:
        ModelFailed: no such file or folder, or no embedded model.
    """
    return replace(_resolve(settings, embedded), vae=settings.vae)


def _resolve(settings: Settings, embedded: Path) -> Source:
    if settings.model == "auto":
        return _automatic(settings, embedded)
    path = Path(settings.model).expanduser()
    if path.is_dir():
        return Source(Kind.FOLDER, str(path))
    if path.suffix.lower() in SINGLE_FILES:
        return _single_file(path, settings)
    if path.is_file():
        raise ModelFailed(
            f"MODEL={settings.model}: a file must be a .safetensors file or a .ckpt, not "
            f"{path.suffix or 'one without an ending'}."
        )
    if is_hub_id(settings.model):
        return Source(Kind.HUB, settings.model, settings.revision)
    raise ModelFailed(f"MODEL={settings.model}: no such folder, file or Hugging Face id.")


def embedded_model(folder: Path = EMBEDDED_MODELS) -> Path:
    """The model that ships with us: the only folder below `folder` with a model_index.json.

    Raises:
        ModelFailed: there is none, or more than one.
    """
    found = sorted(index.parent for index in folder.glob("*/model_index.json"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise ModelFailed(
            f"MODEL=auto, but {folder.name}/ holds no model: set MODEL to a Hugging Face id, "
            "a folder or a .safetensors file."
        )
    names = ", ".join(path.name for path in found)
    raise ModelFailed(f"MODEL=auto, but {folder.name}/ holds several models: {names}.")


def _automatic(settings: Settings, embedded: Path) -> Source:
    if not torch.cuda.is_available() or not settings.device.startswith(("auto", "cuda")):
        note = "the embedded model: no CUDA device is in use"
        return Source(Kind.FOLDER, str(embedded_model(embedded)), note=note)
    if cached_folder(STABLE_DIFFUSION, settings.revision) is not None:
        note = "Stable Diffusion 1.4: there is a CUDA device"
        return Source(Kind.HUB, STABLE_DIFFUSION, settings.revision, note)
    note = (
        f"the embedded model: {STABLE_DIFFUSION} is not in the hub's cache; "
        f"set MODEL={STABLE_DIFFUSION} to fetch it"
    )
    return Source(Kind.FOLDER, str(embedded_model(embedded)), note=note)


def _single_file(path: Path, settings: Settings) -> Source:
    if not path.is_file():
        raise ModelFailed(f"MODEL={settings.model}: no such file.")
    if path.suffix.lower() != ".safetensors" and not settings.allow_pickle:
        raise ModelFailed(
            f"MODEL={settings.model}: a pickle can run any code when it is loaded; "
            "use a .safetensors file, or set ALLOW_PICKLE=1 if you trust it."
        )
    return Source(Kind.FILE, str(path))
