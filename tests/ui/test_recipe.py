import math
from dataclasses import replace

import pytest

from ui.recipe import ASPECTS, Abilities, Recipe, fit, problems

SMALL = Abilities(native_width=128, native_height=128, schedulers=("ddim",), models=("m",))
GOOD = Recipe(prompt="a cat", width=128, height=128, scheduler="ddim", model="m")


@pytest.mark.parametrize("native", [64, 128, 512, 768, 1024])
@pytest.mark.parametrize("aspect", list(ASPECTS))
def test_presets_follow_the_native_size_and_are_allowed(native: int, aspect: str) -> None:
    abilities = Abilities(native_width=native, native_height=native, max_pixels=1024 * 1024)
    width, height = abilities.size_for(aspect)
    assert width % 8 == height % 8 == 0
    assert abs(math.log(width / height / ASPECTS[aspect])) < 0.2
    assert 0.7 < width * height / native**2 < 1.3 or native == 64
    assert abilities.size_for("1:1") == (native, native)


def test_scales_stop_at_the_limits() -> None:
    assert Abilities(max_pixels=512 * 512).scales("1:1") == ["1×"]
    assert SMALL.scales("1:1") == ["1×", "1.5×", "2×"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", "  "),
        ("prompt", "x" * 2001),
        ("negative_prompt", "x" * 2001),
        ("width", 63),
        ("width", 2056),
        ("height", 100),
        ("height", 0),
        ("steps", 0),
        ("steps", 151),
        ("count", 9),
        ("guidance", math.nan),
        ("guidance", math.inf),
        ("guidance", -1.0),
        ("guidance", 50.1),
        ("seed", -1),
        ("seed", SMALL.max_seed + 1),
        ("scheduler", "nope"),
        ("model", "nope"),
    ],
)
def test_what_the_service_would_refuse_is_said_beside_its_field(field: str, value: object) -> None:
    bad = replace(GOOD, **{field: value})  # type: ignore[arg-type]
    assert set(problems(bad, SMALL)) == {field}


def test_all_problems_are_told_at_once() -> None:
    assert set(problems(replace(GOOD, prompt="", steps=0), SMALL)) == {"prompt", "steps"}


def test_too_many_pixels_are_one_problem() -> None:
    assert set(problems(replace(GOOD, width=2048, height=2048), SMALL)) == {"height"}


def test_a_good_recipe_fits_as_it_is() -> None:
    assert problems(GOOD, SMALL) == {}
    assert fit(GOOD, SMALL) == (GOOD, [])


def test_what_does_not_fit_is_changed_and_said() -> None:
    foreign = Recipe("a cat", "", 3000, 2000, 500, math.inf, -5, "euler", "other", 20)
    fitted, notes = fit(foreign, SMALL)
    assert problems(fitted, SMALL) == {}
    assert fitted.width > fitted.height
    assert fitted.seed is None
    said = " ".join(notes)
    for word in ("3000 × 2000", "Steps 500 → 150", "euler", "other", "random", "Pictures 20 → 8"):
        assert word in said


def test_a_recipe_without_a_size_gets_the_native_one_without_a_word() -> None:
    fitted, notes = fit(Recipe("a cat", steps=20), SMALL)
    assert (fitted.width, fitted.height, notes) == (128, 128, [])


def test_a_recipe_survives_a_round_trip_and_unknown_names() -> None:
    assert Recipe.from_dict(GOOD.to_dict() | {"from_the_future": 1}) == GOOD
