import io

import pytest
from PIL import Image

from tests.ui.conftest import png
from ui.grid import Axis, Grid, GridError, axis, plan
from ui.imaging import difference, sheet
from ui.recipe import Abilities, Recipe

BASE = Recipe("a red apple on red cloth", width=64, height=64, seed=9)
ABILITIES = Abilities(schedulers=("ddim", "euler"))


def test_cells_go_row_by_row() -> None:
    grid = plan(BASE, axis("steps", "5, 10"), axis("guidance", "1,2,3"), ABILITIES)
    cells = [(recipe.steps, recipe.guidance) for recipe in grid.recipes()]
    assert cells == [(5, 1.0), (10, 1.0), (5, 2.0), (10, 2.0), (5, 3.0), (10, 3.0)]


def test_words_are_replaced_by_each_value() -> None:
    grid = plan(BASE, axis("prompt", "red, blue"), Axis(), ABILITIES)
    prompts = [recipe.prompt for recipe in grid.recipes()]
    assert prompts == ["a red apple on red cloth", "a blue apple on blue cloth"]


def test_all_cells_share_one_seed_unless_it_varies() -> None:
    grid = plan(BASE.with_seed(None), axis("steps", "5, 10"), Axis(), ABILITIES)
    assert len({recipe.seed for recipe in grid.recipes()}) == 1
    grid = plan(BASE, axis("seed", "1, 2"), Axis(), ABILITIES)
    assert [recipe.seed for recipe in grid.recipes()] == [1, 2]


def test_a_grid_survives_a_round_trip() -> None:
    grid = plan(BASE, axis("scheduler", "ddim, euler"), axis("seed", "1, 2"), ABILITIES)
    assert Grid.from_dict(grid.to_dict()) == grid


@pytest.mark.parametrize(
    ("x", "y", "word"),
    [
        (("", ""), ("", ""), "something to vary"),
        (("steps", "1,2"), ("steps", "3"), "two axes"),
        (("steps", ""), ("", ""), "commas"),
        (("steps", "ten"), ("", ""), "not a number"),
        (("seed", "1.5"), ("", ""), "not a number"),
        (("guidance", "nan"), ("", ""), "Must be 0 to 50"),
        (("steps", "0"), ("", ""), "Must be 1 to 150"),
        (("scheduler", "nope"), ("", ""), "ddim, euler"),
        (("prompt", "green, blue"), ("", ""), "does not contain"),
        (("seed", ",".join(map(str, range(17)))), ("", ""), "At most 16"),
    ],
)
def test_axes_that_make_no_grid_are_refused_in_words(
    x: tuple[str, str], y: tuple[str, str], word: str
) -> None:
    with pytest.raises(GridError, match=word):
        plan(BASE, axis(*x), axis(*y), ABILITIES)


def test_a_sheet_holds_the_pictures_in_their_cells() -> None:
    grid = plan(BASE, axis("steps", "5, 10"), axis("seed", "1, 2"), ABILITIES)
    data = sheet(grid, {0: png("red"), 3: png("blue")})
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.getpixel((200, 150)) == (255, 0, 0)
        assert opened.getpixel((500, 420)) == (0, 0, 255)


def test_the_same_picture_does_not_differ_from_itself() -> None:
    assert difference(png(), png())[1] == 0
    assert difference(png("black"), png("white"))[1] == 255


def test_pictures_of_two_sizes_cannot_be_subtracted() -> None:
    with pytest.raises(GridError, match="same size"):
        difference(png(), png(size=(32, 64)))
