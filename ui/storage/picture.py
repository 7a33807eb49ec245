"""A picture of the gallery, and its conversion to and from row and note."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import String, Text

from ui.recipe import Recipe
from ui.storage.schema import PICTURES

MAX_PROMPT_CHARACTERS = 20_000
TEXTS = {c.name: c.type.length for c in PICTURES.columns if isinstance(c.type, String | Text)}
OPTIONAL = {column.name for column in PICTURES.columns if column.nullable}
FLOATS = ("guidance", "strength", "upscale", "upscale_strength")
NUMBERS: dict[str, Any] = {"favourite": bool, **dict.fromkeys(FLOATS, (int, float))}
MAX_INTEGER = 2**31 - 1
MAX_BIG_INTEGER = 2**63 - 1


class Unkeepable(OSError):
    """The gallery does not accept such a picture; the message is a sentence for its owner."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the gallery. Sizes in pixels, times in milliseconds since 1970.

    `width` and `height` are the file's, after `upscale`. An `upscale_strength` of 0 means that it
    was enlarged without being drawn again.
    """

    id: str
    owner: str
    created_at: int
    job_id: str | None
    batch_id: str | None
    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    scheduler: str
    model: str
    duration_ms: int
    mime_type: str
    num_bytes: int
    sha256: str
    favourite: bool
    deleted_at: int | None
    clip_skip: int = 1
    strength: float | None = None
    upscale: float = 1.0
    upscale_strength: float = 0.5

    @property
    def recipe(self) -> Recipe:
        """The recipe that reproduces this picture."""
        is_drawn_again = self.upscale != 1 and self.upscale_strength > 0
        return Recipe(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            width=_before(self.width, self.upscale),
            height=_before(self.height, self.upscale),
            steps=self.steps,
            guidance=self.guidance,
            seed=self.seed,
            scheduler=self.scheduler,
            model=self.model,
            clip_skip=self.clip_skip,
            strength=self.strength,
            upscale=self.upscale if is_drawn_again else 1.0,
            upscale_strength=self.upscale_strength or 0.5,
        )

    def row(self) -> dict[str, Any]:
        """The database row, including the searchable text."""
        return asdict(self) | {"prompt_folded": fold(self.prompt)}

    def note(self) -> bytes:
        """The note stored beside its file, from which a lost database can be rebuilt."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1).encode()

    @classmethod
    def from_row(cls, row: Mapping[Any, Any]) -> Picture:
        """Convert a query's result."""
        return cls(**{field.name: row[field.name] for field in fields(cls)})

    @classmethod
    def from_note(cls, note: bytes) -> Picture:
        """The inverse of `note`.

        Raises:
            ValueError: it is not a complete note.
        """
        try:
            picture = cls(**json.loads(note))
            for field in fields(cls):
                _check_field(field.name, getattr(picture, field.name))
            check(picture.recipe)
        except (TypeError, Unkeepable) as error:
            raise ValueError(f"not a picture's note: {error}") from error
        return picture


def _before(side: int, upscale: float) -> int:
    """A side before it was enlarged: what was asked for is a multiple of eight."""
    return side if upscale == 1 else max(1, round(side / upscale / 8)) * 8


def _check_field(name: str, value: Any) -> None:
    if value is None and name in OPTIONAL:
        return
    wanted = NUMBERS.get(name, str if name in TEXTS else int)
    if not isinstance(value, wanted):
        raise ValueError(f"not a picture's note: {name} is {type(value).__name__}")
    if isinstance(value, str):
        _check_text(name, value, TEXTS[name] or MAX_PROMPT_CHARACTERS)
    elif wanted is int:
        _check_number(name, value, MAX_INTEGER if name == "duration_ms" else MAX_BIG_INTEGER)


def check(recipe: Recipe) -> None:
    """Check that both kinds of database can store the values.

    Raises:
        Unkeepable: with a sentence that names the first invalid value.
    """
    for name in ("prompt", "negative_prompt"):
        _check_text(name.replace("_", " "), getattr(recipe, name), MAX_PROMPT_CHARACTERS)
    for name in ("scheduler", "model"):
        _check_text(name, getattr(recipe, name), TEXTS[name] or 0)
    for name in ("width", "height", "steps", "clip_skip"):
        _check_number(name, getattr(recipe, name), MAX_INTEGER)
    _check_number("seed", recipe.seed or 0, MAX_BIG_INTEGER)
    for name in FLOATS:
        if not abs(getattr(recipe, name) or 0) < float("inf"):
            raise Unkeepable(f"its {name.replace('_', ' ')} is no number")


def _check_text(name: str, text: str, most: int) -> None:
    if len(text) > most:
        raise Unkeepable(f"its {name} has {len(text):,} characters; the gallery keeps {most:,}")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Unkeepable(f"its {name} holds characters that are no text")


def _check_number(name: str, number: int, most: int) -> None:
    if not 0 <= number <= most:
        raise Unkeepable(f"its {name} is not within 0 to {most:,}")


def fold(text: str) -> str:
    """Normalise a text for searching: case-folded, without compatibility variants."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
