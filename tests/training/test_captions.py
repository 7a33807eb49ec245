"""Texts that fit scenes, and the vocabulary that encodes them."""

import random
from dataclasses import replace
from pathlib import Path

from training import captions, phrases, tokenizer
from training.captions import Captions
from training.scenes import Scene, centred, side_by_side, single, stacked
from training.sprites import Sprites

BALL, BOX, HILL, BAR = range(4)


def texts(sprites: Sprites, scene: Scene, count: int = 300) -> set[str]:
    speak = Captions(captions.names(sprites.things), random.Random(5))
    return {speak(scene) for _ in range(count)}


def test_a_caption_names_the_thing_and_its_colours(sprites: Sprites) -> None:
    said = texts(sprites, single(BOX, "teal", "red"))
    assert "" in said
    assert any("boxchen" in text and "rot" in text for text in said)
    english = {text for text in said if not any(w in text for w in ("chen", "ito", "ette"))} - {""}
    assert all("red" in text and "box" in text for text in english)
    assert any("teal background" in text for text in english)


def test_a_caption_of_two_things_names_both_in_order(sprites: Sprites) -> None:
    pair = Scene(side_by_side(centred(BOX), centred(BAR)), layout="pair")
    assert all(t.index("box") < t.index("bar") for t in texts(sprites, pair) - {""})
    stack = Scene(stacked(centred(BAR), centred(BOX)), layout="stack")
    said = texts(sprites, stack) - {""}
    riding = {text for text in said if "riding" in text}
    wearing = {text for text in said if "wearing" in text}
    assert all(t.index("bar") < t.index("box") for t in riding)
    assert all(t.index("box") < t.index("bar") for t in wearing)
    assert riding
    assert wearing


def test_a_caption_counts(sprites: Sprites) -> None:
    ball = centred(BALL)
    for layout, words in (("two", ("two", "2", "pair", "couple")), ("three", ("three", "3"))):
        scene = Scene((ball, ball), layout=layout)  # type: ignore[arg-type]
        for text in texts(sprites, scene) - {""}:
            assert "balls" in text
            assert any(word in text for word in words)


def test_looks_places_and_landscapes_are_told(sprites: Sprites) -> None:
    flat = texts(sprites, Scene((centred(BALL, flat=True),))) - {""}
    assert all(any(w in text for w in phrases.FLAT_WORDS) for text in flat)
    small = Scene((replace(centred(BALL, 10), x=1),), place="left")
    assert all("left" in text for text in texts(sprites, small) - {""})
    snow = texts(sprites, single(BALL, "snow")) - {""}
    assert all(any(p in text for p in phrases.LANDSCAPE_PHRASES["snow"]) for text in snow)


def test_the_emoji_is_a_name_too(sprites: Sprites) -> None:
    assert any("🔴" in text for text in texts(sprites, single(BALL)))


def test_a_vocabulary_is_learned_once_and_knows_the_names(sprites: Sprites, tmp_path: Path) -> None:
    names = captions.names(sprites.things)
    first, again = (tokenizer.build(names, tmp_path) for _ in range(2))
    assert first.get_vocab() == again.get_vocab()
    assert first("a box on teal") == again("a box on teal")
    assert len(first.tokenize("boxes")) == 1
    assert len(first.tokenize("🔴")) == 1
    assert tokenizer.tokens_of(first, ["", "a box " * 90]).shape == (2, phrases.MAX_TOKENS)
