"""Descriptions of pictures: which things, where, in which colours, on which background."""

import hashlib
import random
from dataclasses import dataclass, replace
from typing import Literal

from training.things import Thing

GRID = 16
"""Parts in which a picture's side is counted; two of them are one latent cell."""
LARGE, SMALL, FULL = 14, 10, 19
"""Sides of a thing; FULL is a landscape's, whose round corners then fall outside the picture."""
HALF, BEFORE, LOWER, UPPER = 8, 11, 11, 8
"""Sides of a thing that shares the picture: with others, a landscape, below and above another."""

Colour = tuple[int, int, int]
COLOURS: dict[str, Colour] = {
    "white": (250, 250, 250),
    "black": (24, 24, 28),
    "gray": (150, 152, 158),
    "red": (214, 48, 49),
    "orange": (243, 146, 55),
    "yellow": (252, 221, 90),
    "green": (88, 180, 92),
    "teal": (38, 166, 154),
    "blue": (66, 125, 230),
    "purple": (136, 84, 208),
    "pink": (246, 160, 200),
    "brown": (130, 88, 62),
}
"""Plain backgrounds."""
TINTS: dict[str, Colour] = {
    "red": (220, 40, 45),
    "orange": (245, 135, 30),
    "yellow": (250, 210, 50),
    "green": (60, 175, 75),
    "blue": (45, 110, 235),
    "purple": (140, 70, 215),
    "pink": (245, 130, 185),
    "brown": (130, 80, 50),
    "black": (40, 40, 46),
    "white": (236, 236, 240),
    "gray": (140, 142, 150),
}
"""Colours of things."""
LANDSCAPES = ("meadow", "beach", "desert", "snow", "mountains", "sunset", "night sky", "space")
"""Backgrounds that are drawn (landscapes.py)."""
CORNERS = {"left": (1, 3), "right": (5, 3), "top": (3, 1), "bottom": (3, 5)}
"""Where a small thing stands when a caption says so."""
Layout = Literal["single", "pair", "two", "three", "stack"]
HELD_OUT = 0.08
"""Share of the pairs of thing and colour, and of two things, that training never sees."""
KINDS: dict[str, float] = {
    "single": 0.62,
    "flat": 0.1,
    "landscape": 0.08,
    "pair": 0.1,
    "two": 0.03,
    "three": 0.03,
    "stack": 0.04,
}
"""Shares of the scenes; a pair are two things side by side, a stack one above the other."""
TINTED, SHRUNK, MIRRORED = 0.45, 0.1, 0.2


@dataclass(frozen=True)
class Placed:
    """One thing in a picture; side and corner in units of 1/GRID of the picture."""

    thing: int
    side: float = LARGE
    x: float = (GRID - LARGE) / 2
    y: float = (GRID - LARGE) / 2
    tint: str | None = None
    flat: bool = False
    mirrored: bool = False


@dataclass(frozen=True)
class Scene:
    """A picture; `layout` determines how captions describe its things."""

    things: tuple[Placed, ...]
    background: str = "white"
    layout: Layout = "single"
    place: str = ""
    """Where in the picture a small thing stands: one of CORNERS, or in the middle."""

    @property
    def first(self) -> Placed:
        return self.things[0]

    @property
    def fills(self) -> bool:
        """Whether the thing hides the whole background."""
        return self.first.side == FULL


def centred(thing: int, side: float = LARGE, **how: object) -> Placed:
    corner = (GRID - side) / 2
    return replace(Placed(thing, side, corner, corner), **how)  # type: ignore[arg-type]


def single(thing: int, background: str = "white", tint: str | None = None) -> Scene:
    return Scene((centred(thing, tint=tint),), background)


def _share(*words: str) -> float:
    """A number from 0 to 1 that only depends on the words (a hash)."""
    digest = hashlib.sha256("|".join(words).encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def is_held_out(label: str, colour: str, part: str) -> bool:
    """Whether this thing in this colour is held out; `part`: background or object."""
    return _share(label, colour, part) < HELD_OUT


def is_held_out_pair(one: str, other: str) -> bool:
    """Whether these two things together are held out, in either order."""
    return one != other and _share(*sorted((one, other)), "pair") < HELD_OUT


def may_train(things: list[Thing], scene: Scene) -> bool:
    labels = [things[placed.thing].label for placed in scene.things]
    for label, placed in zip(labels, scene.things, strict=True):
        if is_held_out(label, scene.background, "background"):
            return False
        if placed.tint is not None and is_held_out(label, placed.tint, "object"):
            return False
    return not is_held_out_pair(labels[0], labels[-1])


def side_by_side(one: Placed, other: Placed) -> tuple[Placed, ...]:
    y = (GRID - HALF) / 2
    return (
        replace(one, side=HALF - 0.5, x=0.25, y=y),
        replace(other, side=HALF - 0.5, x=HALF + 0.25, y=y),
    )


def three_of(one: Placed) -> tuple[Placed, ...]:
    side = HALF - 0.5
    corners = ((HALF - side / 2, 0.5), (0.25, HALF + 0.25), (HALF + 0.25, HALF + 0.25))
    return tuple(replace(one, side=side, x=x, y=y) for x, y in corners)


def stacked(upper: Placed, lower: Placed) -> tuple[Placed, ...]:
    """The lower thing comes first, so that the upper one is drawn over it."""
    return (
        replace(lower, side=LOWER, x=(GRID - LOWER) / 2, y=GRID - LOWER),
        replace(upper, side=UPPER, x=(GRID - UPPER) / 2, y=0),
    )


class Scenes:
    """Random scenes that vary everything training varies."""

    def __init__(self, things: list[Thing], rng: random.Random) -> None:
        self.things, self.rng = things, rng
        self.solid = [i for i, thing in enumerate(things) if not thing.fills]

    def training(self, thing: int) -> Scene:
        """A training scene that contains this thing."""
        while True:
            scene = self.any(thing)
            if may_train(self.things, scene):
                return scene

    def training_single(self, thing: int) -> Scene:
        """A training scene with only this thing, large, on a plain background."""
        while True:
            scene = self._single(thing, flat=self._is_flat(thing))
            if may_train(self.things, scene) and not scene.place and scene.first.side == LARGE:
                return scene

    def held_out(self, thing: int) -> Scene | None:
        """A random scene if it is held out, else None."""
        scene = self._single(thing, flat=False)
        plain = scene.first.side == LARGE and not scene.first.mirrored
        return scene if plain and not may_train(self.things, scene) else None

    def held_out_pair(self, thing: int) -> Scene | None:
        """A random scene of two things side by side if the pair is held out, else None."""
        scene = self._several(thing, "pair")
        one, other = (self.things[placed.thing].label for placed in scene.things)
        return scene if is_held_out_pair(one, other) else None

    def _is_flat(self, thing: int) -> bool:
        return bool(self.things[thing].drawing) and self.rng.random() < 0.15

    def any(self, thing: int) -> Scene:
        kind = self.rng.choices(list(KINDS), list(KINDS.values()))[0]
        if self.things[thing].fills:
            return self._landscape_itself(thing)
        if kind == "landscape":
            placed = self._placed(thing, 0.2)
            x, y = (GRID - BEFORE) / 2, GRID - BEFORE - 0.5
            placed = replace(placed, side=BEFORE, x=x, y=y)
            return Scene((placed,), self.rng.choice(LANDSCAPES))
        if kind in ("single", "flat"):
            return self._single(thing, flat=kind == "flat" and bool(self.things[thing].drawing))
        return self._several(thing, kind)

    def _landscape_itself(self, thing: int) -> Scene:
        mirrored = self.rng.random() < MIRRORED
        if self.rng.random() < 0.75:
            return Scene((centred(thing, FULL, mirrored=mirrored),))
        return self._single(thing, flat=False)

    def _single(self, thing: int, *, flat: bool) -> Scene:
        background = self._background()
        placed = replace(self._placed(thing, TINTED, background), flat=flat)
        if self.rng.random() >= SHRUNK:
            return Scene((placed,), background)
        place = self.rng.choice(["", *CORNERS])
        x, y = CORNERS.get(place, (3, 3))
        return Scene((replace(placed, side=SMALL, x=x, y=y),), background, place=place)

    def _several(self, thing: int, kind: str) -> Scene:
        background = self._background()
        placed = replace(self._placed(thing, 0.3, background), mirrored=False)
        other = self.rng.choice(self.solid)
        second = replace(self._placed(other, 0.3, background), mirrored=False)
        if kind == "stack":
            return Scene(stacked(placed, second), background, "stack")
        if kind == "three":
            return Scene(three_of(placed), background, "three")
        if kind == "two":
            return Scene(side_by_side(placed, placed), background, "two")
        return Scene(side_by_side(placed, second), background, "pair")

    def _background(self) -> str:
        return "white" if self.rng.random() < 0.25 else self.rng.choice(list(COLOURS))

    def _placed(self, thing: int, tinted: float, background: str = "") -> Placed:
        tint = None
        if self.rng.random() < tinted:
            tint = self.rng.choice([colour for colour in TINTS if colour != background])
        mirrored = self.things[thing].mirrors and self.rng.random() < MIRRORED
        return centred(thing, tint=tint, mirrored=mirrored)
