"""Reads the model card, `README.md` of a model's folder: licence and measured figures."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from huggingface_hub.repocard import metadata_load

from backend.params import Figure

LOG = logging.getLogger(__name__)
FILE = "README.md"
MAX_BYTES = 1_000_000
MAX_FIGURES = 40
TABLE_HEAD = re.compile(r"\|\s*measure\s*\|\s*value\s*\|", re.IGNORECASE)
RULE = re.compile(r"\|[\s:|-]+\|")
ROW = re.compile(r"\|(?P<name>[^|]+)\|(?P<value>[^|]+)\|")
MARKS = re.compile(r"[`*]")


class ModelCard(NamedTuple):
    """What a card says. `license` as on the hub: "mit"; empty if it names none."""

    license: str = ""
    figures: tuple[Figure, ...] = ()


def read_card(folder: Path) -> ModelCard:
    """The card of the model in `folder`; an empty one if there is none or it can't be read."""
    path = folder / FILE
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return ModelCard()
        metadata = metadata_load(path) or {}
        figures = tuple(_figures(path.read_text(encoding="utf-8")))[:MAX_FIGURES]
    except Exception as error:  # of YAML there are many kinds
        LOG.warning("%s can't be read (%s): the model is served without it", path, error)
        return ModelCard()
    named = metadata.get("license_name") or metadata.get("license") or ""
    return ModelCard(named if isinstance(named, str) else "", figures)


def _figures(text: str) -> Iterator[Figure]:
    """The rows of the first table whose head is "measure, value"."""
    lines = iter(text.splitlines())
    if not any(TABLE_HEAD.fullmatch(line.strip()) for line in lines):
        return
    for line in lines:
        row = ROW.fullmatch(line.strip())
        if RULE.fullmatch(line.strip()):
            continue
        if row is None:
            return
        yield Figure(_plain(row["name"]), _plain(row["value"]))


def _plain(cell: str) -> str:
    return MARKS.sub("", cell).strip()
