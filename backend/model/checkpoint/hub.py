"""Downloads models from the Hugging Face hub, or finds them in its local cache."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from backend.errors import ModelFailed
from backend.model.checkpoint.card import FILE as CARD
from backend.model.checkpoint.model_index import INDEX

PARTS = (
    "feature_extractor",
    "safety_checker",
    "scheduler",
    "text_encoder",
    "tokenizer",
    "unet",
    "vae",
)
WEIGHTS = (".safetensors", ".bin")
NETWORKS = ("safety_checker", "text_encoder", "unet", "vae")
SETTINGS = (".json", ".txt", ".model")
VAE, CONFIG = "vae", "config.json"
WEIGHTS_NAME = "diffusion_pytorch_model"


def fetch(
    model: str,
    revision: str | None,
    *,
    half: bool,
    allow_pickle: bool = False,
    endpoint: str | None = None,
    cache: Path | None = None,
) -> Path:
    """The model's folder in the hub's cache; downloads it if it is not cached.

    A cached model is used without asking the hub, so that a restart doesn't change images; set a
    revision to update.

    Args:
        model: Hugging Face id, owner/name.
        revision: branch, tag or commit; None for the default branch.
        half: prefer the fp16 variant if the repository has one.
        allow_pickle: use `.bin` weights if there are no safetensors.
        endpoint: URL of the hub, None for the public one.
        cache: the cache folder, None for the user's default.

    Raises:
        ModelFailed: no such model, no access, or offline and not cached.
    """
    cached = cached_folder(model, revision, cache=cache)
    if cached is not None:
        return cached

    def choose(files: list[str]) -> list[str]:
        return needed(files, half=half, allow_pickle=allow_pickle)

    return _download(model, revision, choose, endpoint, cache)


def fetch_vae(
    model: str,
    *,
    half: bool,
    allow_pickle: bool = False,
    endpoint: str | None = None,
    cache: Path | None = None,
) -> Path:
    """An autoencoder's folder: that of a repository of its own, or a whole model's part.

    Arguments as those of `fetch`.

    Raises:
        ModelFailed: no such repository, no access, offline and not cached, or none in it.
    """
    cached = _cached_vae(model, cache)
    if cached is not None:
        return cached

    def choose(files: list[str]) -> list[str]:
        folder = f"{VAE}/" if f"{VAE}/{CONFIG}" in files else ""
        own = [name for name in files if name.startswith(f"{folder}{WEIGHTS_NAME}.")]
        weights = _lightest(own, half, allow_pickle)
        if f"{folder}{CONFIG}" not in files or not weights:
            raise ModelFailed(
                "The repository holds no autoencoder in diffusers layout: download the file "
                "that you want, and name that."
            )
        return [f"{folder}{CONFIG}", *weights]

    folder = _download(model, None, choose, endpoint, cache)
    return folder / VAE if (folder / VAE).is_dir() else folder


def _cached_vae(model: str, cache: Path | None) -> Path | None:
    for config in (f"{VAE}/{CONFIG}", CONFIG):
        found = try_to_load_from_cache(model, config, cache_dir=cache)
        if isinstance(found, str) and _has_weights(Path(found).parent):
            return Path(found).parent
    return None


def _download(
    model: str,
    revision: str | None,
    choose: Callable[[list[str]], list[str]],
    endpoint: str | None,
    cache: Path | None,
) -> Path:
    """The snapshot's folder with the files that `choose` picks.

    Raises:
        ModelFailed: as `fetch`, or by `choose`.
    """
    try:
        files = HfApi(endpoint=endpoint).list_repo_files(model, revision=revision)
        folder = snapshot_download(
            model,
            revision=revision,
            allow_patterns=choose(files),
            endpoint=endpoint,
            cache_dir=cache,
        )
    except ModelFailed:
        raise
    except GatedRepoError:
        raise ModelFailed(
            f"The hub gives {model} only to those who accepted its licence: "
            "accept it there, and set HF_TOKEN."
        ) from None
    except RevisionNotFoundError:
        raise ModelFailed(f"{model} has no revision {revision} on the hub.") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelFailed(
            f"The hub has no model {model}; if it is private, set HF_TOKEN."
        ) from None
    except Exception as error:  # the hub client also raises its HTTP library's errors
        raise ModelFailed(
            f"{model} is not in the hub's cache on this machine, and can't be fetched: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
    return Path(folder)


def needed(files: Iterable[str], *, half: bool, allow_pickle: bool) -> list[str]:
    """The files needed to load a model from a repository in diffusers layout, and its card."""
    files = list(files)
    card = [file for file in files if file == CARD]
    parts = [file for file in files if file.count("/") == 1 and file.split("/")[0] in PARTS]
    settings = [file for file in parts if file.endswith(SETTINGS) and ".index." not in file]
    chosen = [_weights(part, parts, half, allow_pickle) for part in PARTS]
    return [INDEX, *card, *settings, *(file for weights in chosen for file in weights)]


def cached_folder(
    model: str, revision: str | None = None, cache: Path | None = None
) -> Path | None:
    """The model's folder in the hub's cache, or None if it is not complete; works offline."""
    try:
        index = try_to_load_from_cache(model, INDEX, revision=revision, cache_dir=cache)
    except HFValidationError:
        return None
    if not isinstance(index, str):
        return None
    folder = Path(index).parent
    named = json.loads(Path(index).read_text(encoding="utf-8"))
    parts = [part for part in PARTS if (named.get(part) or [None])[0] is not None]
    return folder if all(_is_whole(folder / part) for part in parts) else None


def _is_whole(part: Path) -> bool:
    """Whether one part of a model was downloaded completely."""
    if not any(part.glob("*.json")):
        return False
    if part.name not in NETWORKS:
        return True
    for index in part.glob("*.index*.json"):
        shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        if not all((part / shard).is_file() for shard in shards):
            return False
    return _has_weights(part)


def _has_weights(folder: Path) -> bool:
    return any(file.suffix in WEIGHTS and file.is_file() for file in folder.iterdir())


def _weights(part: str, files: list[str], half: bool, allow_pickle: bool) -> list[str]:
    """The weight files of one part, in one precision; safetensors if there are any."""
    of_part = [file for file in files if file.startswith(f"{part}/") and "non_ema" not in file]
    return _lightest(of_part, half, allow_pickle)


def _lightest(of_part: list[str], half: bool, allow_pickle: bool) -> list[str]:
    found = [file for file in of_part if file.endswith(".safetensors")]
    if not found and allow_pickle:
        found = [file for file in of_part if file.endswith(".bin")]
    in_half = [file for file in found if ".fp16" in file]
    whole = [file for file in found if file not in in_half]
    chosen = in_half if in_half and (half or not whole) else whole
    indices = [
        f for f in of_part if f.endswith(".index.json") and (".fp16" in f) == (chosen == in_half)
    ]
    return chosen + indices
