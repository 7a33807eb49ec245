from dataclasses import replace
from typing import Any

import pytest

from ui import form
from ui.recipe import UNKNOWN, Abilities, Recipe, problems

ABILITIES = Abilities(
    native_width=128,
    native_height=128,
    models=("m", "n"),
    schedulers=("ddim", "euler"),
    default_scheduler="ddim",
)


def settled(**values: Any) -> dict[str, Any]:
    state: dict[str, Any] = values
    form.settle(state, ABILITIES)
    return state


def test_a_fresh_form_holds_a_recipe_that_only_lacks_its_prompt() -> None:
    recipe = form.read(settled(), ABILITIES)
    assert set(problems(recipe, ABILITIES)) == {"prompt"}
    assert (recipe.width, recipe.height, recipe.steps) == (128, 128, 30)
    assert (recipe.seed, recipe.scheduler, recipe.model) == (None, "ddim", "m")


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("a cat", "dog", 128, 128, 30, 7.5, 42, "ddim", "m", 1),
        Recipe("a cat", "", 176, 96, 17, 1.0, None, "euler", "n", 4),
        Recipe("a cat", "", 200, 136, 50, 12.5, 0, "euler", "m", 2),
        Recipe("a cat", "", 256, 256, 15, 7.5, 2**53 - 1, "ddim", "m", 1),
    ],
)
def test_what_is_written_into_the_form_is_read_from_it(recipe: Recipe) -> None:
    state = settled()
    form.write(state, recipe, ABILITIES)
    assert form.read(state, ABILITIES) == recipe


def test_values_that_a_new_service_does_not_take_are_settled() -> None:
    state = settled(steps=999, count=99, scheduler="gone", model="gone", width=9999, scale="9×")
    assert set(problems(form.read(state, ABILITIES), ABILITIES)) == {"prompt"}


def test_an_unlocked_seed_is_random() -> None:
    assert form.read(settled(lock=False, seed=5), ABILITIES).seed is None
    assert form.read(settled(lock=True, seed=5), ABILITIES).seed == 5


def test_an_unknown_service_leaves_size_and_limits_open() -> None:
    state: dict[str, Any] = {}
    form.settle(state, UNKNOWN)
    form.write(state, Recipe("a cat"), UNKNOWN)
    waiting = form.read(state, UNKNOWN)
    assert (waiting.width, waiting.height) == (0, 0)
    assert problems(waiting, UNKNOWN) == {}
    form.settle(state, ABILITIES)
    assert form.size(state, ABILITIES) == ABILITIES.size_for("1:1")


def test_another_model_brings_its_own_limits_and_defaults() -> None:
    turbo = replace(
        ABILITIES,
        native_width=96,
        native_height=96,
        max_steps=4,
        schedulers=("euler",),
        default_scheduler="euler",
        default_steps=2,
        default_guidance=0.0,
    )
    both = replace(ABILITIES, others=(("n", turbo),))
    state: dict[str, Any] = {"prompt": "a cat", "model": "n", "scheduler": "ddim", "steps": 30}
    form.use_defaults(state, form.of_model(state, both))
    form.settle(state, both)
    recipe = form.read(state, both)
    assert (recipe.model, recipe.width, recipe.steps) == ("n", 96, 2)
    assert (recipe.guidance, recipe.scheduler) == (0.0, "euler")
    assert problems(recipe, both) == {}
    assert set(problems(replace(recipe, steps=5), both)) == {"steps"}
    state["model"] = ""
    form.use_defaults(state, form.of_model(state, both))
    form.settle(state, both)
    recipe = form.read(state, both)
    assert (recipe.model, recipe.steps, recipe.guidance) == ("m", 30, 7.5)
    assert problems(recipe, both) == {}
