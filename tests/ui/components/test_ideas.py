"""Sentences that the studio writes: from things and colours, and in a word's place."""

import random

import pytest

from client import Abilities as Drawn
from client import Thing, Words
from ui.components.ideas import another_take, sentence, surprise
from ui.components.talk import replaced
from ui.recipe import Abilities

DRAWN = Abilities(
    model=Drawn(
        things=(Thing("apple", "food"), Thing("robot", "objects")),
        colours=(Words("red", ("red",)), Words("orange", ("orange",))),
        backgrounds=(Words("teal", ("teal", "turquoise")), Words("orange", ("orange",))),
    )
)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (("apple",), "an apple"),
        (("apple", "red"), "a red apple"),
        (("robot", "orange", "teal"), "an orange robot on a teal background"),
        (("robot", "", "orange"), "a robot on an orange background"),
    ],
)
def test_a_choice_becomes_a_sentence(parts: tuple[str, ...], text: str) -> None:
    assert sentence(*parts) == text


def test_a_surprise_is_something_that_the_model_draws() -> None:
    random.seed(1)
    for _ in range(50):
        text = surprise(DRAWN)
        assert "apple" in text or "robot" in text
    assert surprise(Abilities())  # one of ours, where the model declares nothing


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a cat on a turquoise background", "a cat on an orange background"),
        ("a cat on an Orange background.", "a cat on a teal background."),
    ],
)
def test_another_take_changes_the_background(before: str, after: str) -> None:
    assert another_take(before, DRAWN) == after


def test_another_take_adds_a_background_and_leaves_other_models_prompts_alone() -> None:
    assert another_take("a cat.", DRAWN) in (
        "a cat on a teal background",
        "a cat on an orange background",
    )
    assert another_take("a cat", Abilities()) == "a cat"


@pytest.mark.parametrize(
    ("text", "word", "after"),
    [
        ("a Wolf and a wolfhound", "wolf", "a dog and a wolfhound"),
        ("a (wolf)", "wolf", "a (dog)"),
        ("🐶 there", "🐶", "dog there"),
        ("wizard's wolf", "wolf", "wizard's dog"),
    ],
)
def test_a_word_is_replaced_whole_and_in_any_case(text: str, word: str, after: str) -> None:
    assert replaced(text, word, "dog") == after
