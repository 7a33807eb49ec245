"""What the file says a model draws, and what follows from it for a prompt."""

import json
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from training import abilities, captions, paths, strangers, tokenizer
from training.sprites import Sprites
from training.strangers import Stranger, is_fine, unknown_words, warned

KNOWN = json.loads((paths.MODEL / "abilities.json").read_text("utf-8"))


def test_the_file_that_ships_names_every_thing_once() -> None:
    names = [thing["name"] for thing in KNOWN["things"]]
    assert len(names) == len(set(names)) >= 239
    assert {thing["group"] for thing in KNOWN["things"]} == set(KNOWN["groups"])
    assert (paths.MODEL / "abilities.json").stat().st_size < 400_000
    assert set(KNOWN["near"]) <= set(names)


def test_no_near_word_is_a_name() -> None:
    named = {name for thing in KNOWN["things"] for name in (thing["name"], *thing["also"])}
    assert not named & {word for words in KNOWN["near"].values() for word in words}


@pytest.mark.parametrize("example", KNOWN["examples"], ids=lambda example: example["prompt"])
def test_every_example_is_made_of_known_words(example: dict[str, str]) -> None:
    assert unknown_words(example["prompt"], KNOWN) == []


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("a red box on a teal background", []),
        ("three boxes in the snow, flat", []),
        ("a round ball and a hill", []),
        ("ein roter boxchen auf blauem Hintergrund", []),
        ("a carburettor", ["carburettor"]),
        ("a ball for Agamemnon's sister", ["agamemnon's", "sister"]),
        ("", []),
    ],
)
def test_words_that_no_caption_taught_are_unknown(
    sprites: Sprites, prompt: str, unknown: list[str]
) -> None:
    assert unknown_words(prompt, abilities.abilities(sprites.things)) == unknown


@pytest.fixture(scope="module")
def words(sprites: Sprites, tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    return tokenizer.build(captions.names(sprites.things), tmp_path_factory.mktemp("words"))


def test_a_prompt_that_is_cut_is_warned_of(sprites: Sprites, words: CLIPTokenizer) -> None:
    known = abilities.abilities(sprites.things)
    assert "tokens" in warned("a red ball " * 30, known, words)
    assert "tokens" not in warned("a red ball", known, words)


def test_an_answer_is_fine_if_it_is_right_or_honest() -> None:
    horse = Stranger("astronaut riding a horse", right=("astronaut",), second=("horse",))
    assert is_fine(horse, [{"astronaut"}, {"horse"}], [])
    assert not is_fine(horse, [{"astronaut"}, {"dog"}], [])
    bitcoin = Stranger("bitcoin", right=("coin",), warn=("bitcoin",))
    assert is_fine(bitcoin, [{"dog"}], ["bitcoin"])
    assert is_fine(bitcoin, [{"coin"}], [])
    assert not is_fine(bitcoin, [{"dog"}], ["else"])


def test_sixty_strangers_ask_for_things_of_the_list() -> None:
    asked = strangers.read()
    assert len(asked) == 60
    lines = paths.THINGS.read_text("utf-8").splitlines()
    labels = {line.split("|")[0].lstrip("=+").strip().replace("’", "'") for line in lines}
    for stranger in asked:
        assert stranger.right or stranger.warn
        assert set(stranger.right) & labels or stranger.warn, stranger.prompt


def test_the_recipe_writes_the_file(sprites: Sprites, tmp_path: Path) -> None:
    abilities.write(sprites.things, tmp_path)
    written = json.loads((tmp_path / "abilities.json").read_text("utf-8"))
    abilities.note_pairs(0.333, tmp_path)
    noted = json.loads((tmp_path / "abilities.json").read_text("utf-8"))
    assert noted == written | {"pairs_right": 0.33}
    assert noted.keys() == KNOWN.keys()
    box = written["things"][1]
    assert box["plural"] == ["boxes", "round boxes"]
    assert box["labels"] == {"de": ["boxchen"], "es": ["boxito"], "fr": ["boxette"]}
