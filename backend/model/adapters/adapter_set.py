"""What names a set of LoRAs."""

from __future__ import annotations

from typing import NamedTuple

from backend.model.adapters.folder import Stamp


class Used(NamedTuple):
    """One LoRA of a set: its name, its weight, and the state of its file."""

    name: str
    scale: float
    stamp: Stamp


AdapterSet = tuple[Used, ...]  # by name
