"""Finding unknown words of a prompt from a model's declared abilities."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from backend.abilities import Abilities, Thing
from backend.model.abilities import read_abilities, thumbnail_name

SHIPPED = Path("models/text2image-mini")

ABILITIES = Abilities(
    token_limit=6,
    things=(
        Thing("dog face", "animals", "🐶", ("dog", "puppy"), ("dogs", "puppies")),
        Thing("wrench", "objects", "🔧", ("spanner",)),
        Thing("t-rex", "animals", "🦖"),
        Thing("elephant", "animals", "🐘"),
    ),
    colours={"red": ("red",)},
    backgrounds={"teal": ("teal", "turquoise")},
    landscapes={"snow": ("in the snow",)},
    modifiers=("a", "the", "on", "background", "in", "of", "cute"),
    near={"wrench": ("carburettor",)},
)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a red dog on a teal background",
        "Cute PUPPY, in the snow!",
        "the dog face",
        "a t-rex",
        "dogs",
        "a dog-elephant",
    ],
)
def test_what_was_taught_is_known(prompt: str) -> None:
    assert list(ABILITIES.unknown_words(prompt)) == []


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("a carburettor", ["carburettor"]),
        ("snow", ["snow"]),  # only the phrase is known
        ("the face of a dog", ["face"]),
        ("ein roter Hund", ["ein", "roter", "hund"]),
        ("un perro azul", ["un", "perro", "azul"]),
        ("🐶", ["🐶"]),
        ("a wizard's hat", ["wizard's", "hat"]),
    ],
)
def test_what_is_left_over_is_unknown(prompt: str, unknown: list[str]) -> None:
    assert list(ABILITIES.unknown_words(prompt)) == unknown


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("carburettor", ("wrench",)),  # by meaning
        ("elefant", ("elephant",)),  # by spelling
        ("🐶", ("dog face",)),
        ("qzx", ()),
        ("e" * 2000, ()),
    ],
)
def test_the_nearest_is_by_meaning_then_by_spelling(word: str, nearest: tuple[str, ...]) -> None:
    assert ABILITIES.nearest(word) == nearest


def test_a_warning_says_it_to_people_and_to_programs() -> None:
    (warning,) = ABILITIES.warnings("a carburettor carburettor")
    assert warning.description == (
        "I don't know “carburettor”; the nearest I can draw is “wrench”."
    )
    assert (warning.field, warning.reason) == ("prompt", "UNKNOWN_WORD")
    assert (warning.excerpt, warning.alternatives) == ("carburettor", ("wrench",))


@pytest.mark.parametrize(
    ("prompt", "excerpt"),
    [("a dog on the elephant", "elephant"), ("two dogs", "two"), ("a dog of a puppy", None)],
)
def test_more_than_one_thing_is_said(prompt: str, excerpt: str | None) -> None:
    found = [warning.excerpt for warning in ABILITIES.warnings(prompt)]
    assert found == ([excerpt] if excerpt else [])


@pytest.mark.parametrize(("share", "is_warned"), [(0.33, True), (0.75, False)])
def test_pairs_that_rarely_come_out_right_are_said(share: float, is_warned: bool) -> None:
    joins = replace(ABILITIES, compositions={"pair": ("on the",)}, pairs_right=share)
    assert joins.warnings("a dog, a dog") == ()
    found = [(one.reason, one.excerpt) for one in joins.warnings("a dog on the elephant")]
    assert found == ([("ONE_THING", "elephant")] if is_warned else [])
    if is_warned:
        assert "about 33% of my pictures" in joins.warnings("a dog on the elephant")[0].description


def test_what_a_thing_does_is_no_other_thing() -> None:
    doing = replace(ABILITIES, near={"wrench": ("fixing",)})
    assert doing.warnings("a fixing")[0].alternatives == ("wrench",)
    assert doing.warnings("a dog fixing")[0].alternatives == ()


def test_unknown_words_are_blanked_where_they_would_spoil_the_picture() -> None:
    skipping = replace(ABILITIES, skips_unknown=True)
    text = "a DOG Barking, ÜÜ, on a red ball"
    assert skipping.read(text).split() == ["a", "DOG", ",", ",", "on", "a", "red"]
    assert len(skipping.read(text)) == len(text)
    assert ABILITIES.read("a DOG Barking") == "a DOG Barking"
    assert skipping.warnings("a carburettor")[0].description == (
        "I don't know “carburettor” and leave it out; the nearest I can draw is “wrench”."
    )
    assert all(one.reason == "UNKNOWN_WORD" for one in skipping.check("zq " * 99 + "a dog"))


def test_many_unknown_words_are_bounded_in_number_and_time() -> None:
    abilities = read_abilities(SHIPPED)
    assert abilities is not None
    prompt = " ".join(f"zq{number}wort" for number in range(250))[:2000]
    abilities.warnings("first")  # the lexicon is made once
    began = time.process_time()
    found = abilities.warnings(prompt)
    assert time.process_time() - began < 0.1
    assert len(found) == 9
    assert "more words" in found[-1].description


def test_more_words_than_tokens_are_said_with_the_rest() -> None:
    (warning,) = ABILITIES.check("a cute dog on a red background")
    assert (warning.reason, warning.excerpt) == ("PROMPT_CUT", "background")


def test_the_shipped_model_declares_what_it_draws() -> None:
    abilities = read_abilities(SHIPPED)
    assert abilities is not None
    assert abilities.about
    assert len(abilities.things) > 200
    assert {thing.group for thing in abilities.things} >= {"food", "objects"}
    for example in abilities.examples:
        assert abilities.check(example.prompt) == ()


# What people try first, and a word that the answer must be about; None: nothing to say.
FIRST_PROMPTS = {
    "astronaut riding a horse": "horse",
    "two dogs": None,
    "a wizard": None,
    "a girl": None,
    "ninja": None,
    "superhero": None,
    "a cat wearing a hat": "hat",
    "ein roter Apfel": None,
    "un perro rojo": None,
    "una casa en la playa": "playa",
    "🐶": None,
    "a cyberpunk city": None,
    "a red apple on a blue background": None,
    "my name is Anna": "Anna",
    'a sign that says "hello"': "says",
    "ein Hund im Garten": "Garten",
    "a carburettor": "carburettor",
    "mona lisa": "mona",
    "a volkswagen beetle": "volkswagen",
    " ".join(["a very beautiful and detailed red apple on a wooden table"] * 9): "",
}


@pytest.mark.parametrize(("prompt", "about"), FIRST_PROMPTS.items())
def test_of_what_people_try_first_something_true_is_said(prompt: str, about: str | None) -> None:
    abilities = read_abilities(SHIPPED)
    assert abilities is not None
    found = abilities.check(prompt)
    if about is None:
        assert found == ()
        return
    assert found
    assert about.lower() in " ".join(warning.excerpt for warning in found).lower()
    assert all(warning.description for warning in found)
    if len(prompt.split()) > abilities.token_limit:
        assert "PROMPT_CUT" in {warning.reason for warning in found}
    things = [word for warning in found for word in warning.alternatives]
    assert all(abilities.check(word) == () for word in things)


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"things": [{"also": []}]}', '{"sizes": 3}', "\xff"]
)
def test_a_broken_file_costs_nothing_but_the_abilities(tmp_path: Path, content: str) -> None:
    (tmp_path / "abilities.json").write_bytes(content.encode("latin-1"))
    assert read_abilities(tmp_path) is None


def test_a_folder_without_the_file_has_no_limits(tmp_path: Path) -> None:
    assert read_abilities(tmp_path) is None


def test_an_example_brings_its_picture(tmp_path: Path) -> None:
    examples = [{"prompt": "a red dog", "seed": 4}, {"prompt": "an elephant", "seed": 5}]
    (tmp_path / "abilities.json").write_text(
        json.dumps({"version": 1, "examples": examples}), encoding="utf-8"
    )
    (tmp_path / "examples").mkdir()
    assert thumbnail_name("a red dog", 4) == "a-red-dog-4.webp"
    (tmp_path / "examples" / "a-red-dog-4.webp").write_bytes(b"webp")
    abilities = read_abilities(tmp_path)
    assert abilities is not None
    assert [example.thumbnail for example in abilities.examples] == [b"webp", b""]
