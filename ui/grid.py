"""X/Y grids: one recipe varied along two axes."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

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


class GridError(ValueError):
    """The axes are invalid; the message is for people."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The parameter that varies along one side, and its values."""

    name: str = NONE
    values: tuple[str, ...] = ("",)

    def label(self, value: str) -> str:
        """The heading of a row or column."""
        return f"{AXES[self.name]} {value}" if self.name not in (NONE, "prompt") else value

    def apply(self, recipe: Recipe, value: str) -> Recipe:
        """The recipe with this axis set to `value`."""
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
    """A recipe and the two axes along which it varies; cells are numbered row by row."""

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
        """The inverse of `to_dict`."""
        x, y = (Axis(plan[side]["name"], tuple(plan[side]["values"])) for side in ("x", "y"))
        return cls(Recipe.from_dict(plan["base"]), x, y)


def plan(base: Recipe, x: Axis, y: Axis, abilities: Abilities) -> Grid:
    """A valid grid. Cells share one seed, unless an axis varies it.

    Raises:
        GridError: too many cells, the same axis twice, or a cell that the service would refuse.
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
    """Parse an axis's values from a line such as “10, 20, 30”.

    Raises:
        GridError: there are no values, or some are not numbers as required.
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
