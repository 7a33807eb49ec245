"""What a model can draw. See `Abilities` in the proto file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that the model can draw; `emoji` may be empty."""

    name: str
    group: str
    emoji: str = ""
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Words:
    """A colour, background, place or look, and the words for it."""

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt that works well, its seed, and a small WebP image (may be empty)."""

    prompt: str
    seed: int
    thumbnail: bytes = b""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a model can draw. `sizes` are (width, height) in pixels, the default first."""

    about: str = ""
    languages: tuple[str, ...] = ()
    reads_emoji: bool = False
    token_limit: int = 0
    sizes: tuple[tuple[int, int], ...] = ()
    things: tuple[Thing, ...] = ()
    colours: tuple[Words, ...] = ()
    backgrounds: tuple[Words, ...] = ()
    landscapes: tuple[Words, ...] = ()
    looks: tuple[Words, ...] = ()
    counts: tuple[Words, ...] = ()
    compositions: tuple[Words, ...] = ()
    examples: tuple[Example, ...] = ()
