import pytest

from ui.recipe import Recipe
from ui.recipe_link import from_link, to_link


def test_a_link_brings_everything_back() -> None:
    recipe = Recipe("ein “Hund” & 犬", "x=y", 640, 448, 20, 3.5, 42, "ddim", "m", 2)
    assert from_link(to_link(recipe)) == recipe


def test_a_link_without_settings_is_none() -> None:
    assert from_link({"img": "abc"}) is None


@pytest.mark.parametrize("value", ["abc", "", "nan", "inf", "1e999", "-5", "9" * 5000, "٥x"])
def test_rubbish_in_a_link_keeps_the_default(value: str) -> None:
    recipe = from_link({"prompt": "a cat", "steps": value, "cfg": value, "seed": value})
    assert recipe is not None
    assert (recipe.steps, recipe.guidance, recipe.seed) == (30, 7.5, None)
