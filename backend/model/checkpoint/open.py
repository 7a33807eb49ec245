"""Opens a checkpoint, reusing what an earlier start cached about it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import CLIPTokenizer

from backend.abilities import Abilities
from backend.config import is_hub_id
from backend.errors import DeviceLost, ModelFailed
from backend.model.abilities import read_abilities
from backend.model.checkpoint.architecture import Architecture
from backend.model.checkpoint.cache import CheckpointCache
from backend.model.checkpoint.card import ModelCard, read_card
from backend.model.checkpoint.components import Components, LoadOptions, Networks
from backend.model.checkpoint.fingerprint import fingerprint
from backend.model.checkpoint.hub import fetch, fetch_vae
from backend.model.checkpoint.model_index import names_safety_checker, read_index
from backend.model.checkpoint.source import SD1, Kind, Source
from backend.model.failures import is_device_lost, is_out_of_memory

logger = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    """A loaded source: parts, revision, cache of that revision, abilities, model card."""

    components: Components
    revision: str
    cache: CheckpointCache
    abilities: Abilities | None = None
    card: ModelCard = ModelCard()


def open_checkpoint(source: Source, reading: LoadOptions, data_dir: Path) -> Checkpoint:
    """Fetch and read `source`. Networks are only read if its architecture is not cached.

    Raises:
        ModelFailed: with one sentence that says what is wrong.
    """
    with _clearly(source):
        path = _on_disk(source, reading)
        vae = None if source.vae is None else _vae_on_disk(source.vae, reading)
        revision = _revision(source, path, vae)
        cache = CheckpointCache(data_dir, revision)
        abilities, card = read_abilities(path), read_card(path)
        read_again = partial(_read_again, source, path, vae, reading, revision)
        architecture = cache.architecture.load()
        if architecture is not None:
            return Checkpoint(
                _recall(source, path, reading, architecture, read_again),
                revision,
                cache,
                abilities,
                card,
            )
        components = _read(source, path, vae, reading)
        components.read = read_again
        cache.architecture.save(components.architecture)
        return Checkpoint(components, revision, cache, abilities, card)


def _read_again(
    source: Source, path: Path, vae: Path | None, reading: LoadOptions, revision: str
) -> Networks:
    with _clearly(source):
        if _revision(source, path, vae) != revision:
            raise ModelFailed("Its files are others than when the service started: restart it.")
        return _read(source, path, vae, reading).networks


def _on_disk(source: Source, reading: LoadOptions) -> Path:
    if source.kind is not Kind.HUB:
        return Path(source.location)
    half = reading.dtype == torch.float16
    return fetch(source.location, source.revision, half=half, allow_pickle=reading.allow_pickle)


def _vae_on_disk(vae: str, reading: LoadOptions) -> Path:
    path = Path(vae).expanduser()
    if path.exists() or not is_hub_id(vae):
        return path
    half = reading.dtype == torch.float16
    try:
        return fetch_vae(vae, half=half, allow_pickle=reading.allow_pickle)
    except ModelFailed as error:
        raise ModelFailed(f"Its VAE, {vae}: {error}") from None


def _revision(source: Source, path: Path, vae: Path | None) -> str:
    # a hub snapshot's folder is named by its commit
    revision = path.name if source.kind is Kind.HUB else fingerprint(path)
    return revision if vae is None else f"{revision}-vae-{fingerprint(vae)}"


def _read(source: Source, path: Path, vae: Path | None, reading: LoadOptions) -> Components:
    # Imported here since it takes a second, and most starts don't need it.
    if source.kind is Kind.FILE:
        from backend.model.checkpoint.single_file import read_file

        return read_file(path, reading, vae=vae)
    from backend.model.checkpoint.folder import read_folder

    return read_folder(path, reading, vae=vae)


def _recall(
    source: Source,
    path: Path,
    reading: LoadOptions,
    architecture: Architecture,
    read: Callable[[], Networks],
) -> Components:
    """The same as `_read`, with the cached architecture and the networks still on disk."""
    is_folder = source.kind is not Kind.FILE
    folder = path if is_folder else SD1
    pad_token: dict[str, Any] = {} if is_folder else {"pad_token": architecture.pad_token}
    components = Components(
        tokenizer=CLIPTokenizer.from_pretrained(
            folder / "tokenizer", local_files_only=True, **pad_token
        ),
        architecture=architecture,
        device=reading.device,
        read=read,
    )
    if is_folder and reading.safety_checker and names_safety_checker(read_index(path)):
        from backend.model.checkpoint.folder import read_safety_checker

        components.safety_checker, components.feature_extractor = read_safety_checker(path, reading)
    return components


@contextmanager
def _clearly(source: Source) -> Iterator[None]:
    try:
        yield
    except ModelFailed as error:
        raise ModelFailed(f"{source.name} can't be loaded. {error}") from None
    except Exception as error:  # readers fail in many ways on a broken file
        logger.debug("loading %s failed", source.location, exc_info=True)
        if is_device_lost(error):
            raise DeviceLost(_first_line(error)) from error
        if is_out_of_memory(error):
            raise ModelFailed(f"{source.name} does not fit into memory.") from error
        raise ModelFailed(f"{source.name} can't be loaded: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
