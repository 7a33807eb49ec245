"""X/Y grids: one recipe varied along two axes."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageStat

from ui.recipe import Abilities, Recipe, problems

NONE = ""
AXES = {
    NONE: "Nothing",
    "steps": "Steps",
    "guidance": "Guidance",
    "seed": "Seed",
    "scheduler": "Noise scheduler",
    "prompt": "Prompt words",
}
MAX_CELLS = 16
RANDOM_SEED_BELOW = 2**32
CELL_PX = 256
LABEL_PX = 40


class GridError(ValueError):
    """The axes can't be used; the message says why to a person."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What varies along one side, and through which values."""

    name: str = NONE
    values: tuple[str, ...] = ("",)

    def label(self, value: str) -> str:
        """The heading of a row or column."""
        return f"{AXES[self.name]} {value}" if self.name not in (NONE, "prompt") else value

    def apply(self, recipe: Recipe, value: str) -> Recipe:
        """The recipe with this axis at `value`."""
        match self.name:
            case "steps":
                return replace(recipe, steps=int(value))
            case "guidance":
                return replace(recipe, guidance=float(value))
            case "seed":
                return replace(recipe, seed=int(value))
            case "scheduler":
                return replace(recipe, scheduler=value)
            case "prompt":
                return replace(recipe, prompt=recipe.prompt.replace(self.values[0], value))
            case _:
                return recipe


@dataclass(frozen=True, slots=True)
class Grid:
    """A recipe and the two axes along which it varies; cells count row by row."""

    base: Recipe
    x: Axis
    y: Axis

    @property
    def num_cells(self) -> int:
        return len(self.x.values) * len(self.y.values)

    def recipes(self) -> list[Recipe]:
        """One recipe per cell."""
        return [
            self.y.apply(self.x.apply(self.base, across), down)
            for down in self.y.values
            for across in self.x.values
        ]

    def to_dict(self) -> dict[str, Any]:
        axes = {"x": self.x, "y": self.y}
        sides = {side: {"name": a.name, "values": list(a.values)} for side, a in axes.items()}
        return {"base": self.base.to_dict(), **sides}

    @classmethod
    def from_dict(cls, plan: Mapping[str, Any]) -> Grid:
        """Read what `to_dict` wrote."""
        x, y = (Axis(plan[side]["name"], tuple(plan[side]["values"])) for side in ("x", "y"))
        return cls(Recipe.from_dict(plan["base"]), x, y)


def plan(base: Recipe, x: Axis, y: Axis, abilities: Abilities) -> Grid:
    """A grid that the service will take. Cells share one seed, unless an axis varies it.

    Raises:
        GridError: too many cells, the same axis twice, or a cell that would be refused.
    """
    if x.name == y.name:
        raise GridError("Choose something to vary." if x.name == NONE else "Choose two axes.")
    seed = random.randrange(RANDOM_SEED_BELOW) if base.seed is None else base.seed
    grid = Grid(replace(base, seed=seed, count=1), x, y)
    if grid.num_cells > MAX_CELLS:
        raise GridError(f"At most {MAX_CELLS} pictures; these would be {grid.num_cells}.")
    for axis in (x, y):
        if axis.name == "prompt" and axis.values[0] not in base.prompt:
            raise GridError(f"The prompt does not contain “{axis.values[0]}”.")
    for recipe in grid.recipes():
        for field, text in problems(recipe, abilities).items():
            raise GridError(f"{AXES.get(field, field.capitalize())}: {text}")
    return grid


def axis(name: str, text: str) -> Axis:
    """Read an axis's values from a line such as “10, 20, 30”.

    Raises:
        GridError: no values, or some that are no numbers where numbers belong.
    """
    if name == NONE:
        return Axis()
    values = tuple(part.strip() for part in text.split(",") if part.strip())
    if not values:
        raise GridError(f"{AXES[name]}: write the values with commas between them.")
    reader: Any = {"steps": int, "guidance": float, "seed": int}.get(name, str)
    for value in values:
        try:
            reader(value)
        except ValueError:
            raise GridError(f"{AXES[name]}: “{value}” is not a number.") from None
    return Axis(name, values)


def sheet(grid: Grid, pictures: Mapping[int, bytes]) -> bytes:
    """The grid as one labelled PNG. `pictures` are encoded files by cell."""
    columns, rows = len(grid.x.values), len(grid.y.values)
    left = LABEL_PX * 3 if grid.y.name else 0
    size = (left + columns * CELL_PX, LABEL_PX + rows * CELL_PX)
    paper = Image.new("RGB", size, "#fbfaf7")
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(14)
    for column, value in enumerate(grid.x.values):
        place = (left + column * CELL_PX + 8, 12)
        pen.text(place, _fit(grid.x.label(value), 32), "#1b1a26", font)
    for row, value in enumerate(grid.y.values):
        place = (8, LABEL_PX + row * CELL_PX + 8)
        pen.text(place, _fit(grid.y.label(value), 14), "#1b1a26", font)
    for cell, data in pictures.items():
        row, column = divmod(cell, columns)
        corner = (left + column * CELL_PX, LABEL_PX + row * CELL_PX)
        _place(paper, data, corner)
    file = io.BytesIO()
    paper.save(file, "PNG")
    return file.getvalue()


def _place(paper: Image.Image, data: bytes, corner: tuple[int, int]) -> None:
    with Image.open(io.BytesIO(data)) as opened:
        scale = (CELL_PX - 8) / max(opened.size)
        width, height = (max(1, round(side * scale)) for side in opened.size)
        small = opened.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    paper.paste(small, corner)


def _fit(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def difference(first: bytes, second: bytes) -> tuple[bytes, float]:
    """Where two pictures of one size differ, as a PNG (brighter: more), and by how much on average.

    Returns:
        The PNG, and the mean absolute difference per channel, 0 to 255.

    Raises:
        GridError: their sizes differ.
    """
    with Image.open(io.BytesIO(first)) as a, Image.open(io.BytesIO(second)) as b:
        if a.size != b.size:
            raise GridError("Only pictures of the same size can be subtracted.")
        changed = ImageChops.difference(a.convert("RGB"), b.convert("RGB"))
    mean = sum(ImageStat.Stat(changed).mean) / 3
    file = io.BytesIO()
    changed.point([min(255, value * 4) for value in range(256)] * 3).save(file, "PNG")
    return file.getvalue(), mean
