"""The host's settings for a session: limits, fixed generation settings, moderation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Rules:
    """`sizes` are (width, height) in pixels, the default first; empty: the model's native size.

    `address` is the URL at which phones reach this studio, such as "http://192.168.1.20:8501".
    """

    pictures_per_guest: int = 3
    per_minutes: int = 10  # window of pictures_per_guest in minutes; 0: the whole session
    pictures_per_request: int = 1
    max_waiting: int = 100
    steps: int = 30
    sizes: tuple[tuple[int, int], ...] = ()
    model: str = ""
    scheduler: str = ""
    guidance: float = 7.5
    approve_first: bool = False
    address: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Rules:
        """The inverse of `to_dict`; unknown names are ignored."""
        known = {field.name for field in fields(cls)}
        kept = {name: value for name, value in values.items() if name in known}
        sizes = tuple((int(width), int(height)) for width, height in kept.pop("sizes", ()))
        return cls(**kept, sizes=sizes)
