"""Builds abilities.json, which lists what the model can draw (schema: docs/abilities.md).

It uses the same lists as the captions, so it contains exactly the words used in training.
"""

import json
from pathlib import Path
from typing import Any

from training import captions, near, phrases
from training.scenes import COLOURS, LANDSCAPES, TINTS
from training.sprites import SIZE
from training.things import LANGUAGES, Thing

FILE = "abilities.json"
VERSION = 1
ABOUT = "Single things, two or three of them, in the look of 3D emoji or flat drawings."
EXAMPLES: tuple[tuple[str, int], ...] = (
    ("a wizard on a purple background", 21),
    ("a penguin on an orange background", 3),
    ("a blue cat on a yellow background", 9),
    ("pizza", 8),
    ("a rocket in space", 16),
    ("three strawberries", 14),
    ("a robot on a teal background", 9),
    ("an astronaut on a blue background", 12),
    ("a beautiful landscape with mountains", 11),
    ("a ghost on a purple background", 5),
    ("an avocado on a yellow background", 7),
    ("two penguins", 4),
    ("a purple mushroom, flat", 18),
    ("a burger on an orange background", 19),
    ("a snowman at night", 15),
    ("a frog on a teal background", 4),
    ("a house", 2),
    ("a princess", 13),
    ("a sailboat by the sea", 15),
    ("a black swan", 8),
    ("a birthday cake", 24),
    ("a jack-o-lantern on a black background", 6),
    ("a blue elephant on a yellow background", 7),
    ("a ninja", 11),
)


def thing_entry(thing: Thing, words: tuple[str, ...], others: dict[str, Any]) -> dict[str, Any]:
    entry = {
        "name": thing.label.lower(),
        "group": thing.group,
        "emoji": thing.emoji,
        "also": [word for word in words if word != thing.label.lower()],
        "plural": [captions.plural(word) for word in words[:3]],
    }
    labels = {language: list(names) for language, names in others.items() if names}
    return entry | ({"labels": labels} if labels else {})


def abilities(things: list[Thing]) -> dict[str, Any]:
    known = captions.names(things)
    return {
        "version": VERSION,
        "about": ABOUT,
        "languages": ["en", *LANGUAGES],
        "reads_emoji": True,
        "token_limit": phrases.WORDS - 2,  # without start and end
        "sizes": [{"width": SIZE, "height": SIZE}],
        "groups": list(dict.fromkeys(thing.group for thing in things)),
        "things": [
            thing_entry(thing, names.words, names.foreign)
            for thing, names in zip(things, known, strict=True)
        ],
        "colours": {name: _in_all_languages(name) for name in TINTS},
        "backgrounds": {name: _in_all_languages(name) for name in COLOURS},
        "landscapes": {name: list(phrases.LANDSCAPE_PHRASES[name]) for name in LANDSCAPES},
        "looks": {"3d": list(phrases.THREE_D_WORDS), "flat": list(phrases.FLAT_WORDS)},
        "counts": {"2": ["two", "a pair of", "couple of"], "3": ["three"]},
        "composition": {
            "side by side": _joints(phrases.PAIRS),
            "one above the other": _joints((*phrases.STACKS, *phrases.WORN)),
        },
        "modifiers": sorted(modifiers()),
        "skips_unknown": True,
        "near": near_words(known),
        "examples": [{"prompt": prompt, "seed": seed} for prompt, seed in EXAMPLES],
    }


def near_words(known: list[captions.Names]) -> dict[str, list[str]]:
    """For each thing, words nearest to it in meaning that are not names of these things."""
    names = {word for each in known for word in each.words}
    found = {label.lower(): words for label, words in near.read().items()}
    return {
        each.words[0]: [word for word in found[each.words[0]] if word not in names]
        for each in known
        if each.words[0] in found
    }


def _in_all_languages(colour: str) -> list[str]:
    words = list(phrases.COLOUR_WORDS[colour])
    for colours in phrases.FOREIGN_COLOURS.values():
        words += colours[colour]
    return list(dict.fromkeys(words))


def _joints(patterns: tuple[str, ...]) -> list[str]:
    """The words that join two things in a caption."""
    return list(dict.fromkeys(pattern.replace("{}", "").strip() for pattern in patterns))


def modifiers() -> set[str]:
    """Single words that are understood, or that have no effect but need no warning."""
    sources = (
        *(phrases.OPENINGS, phrases.ADJECTIVES, phrases.ENDINGS, phrases.MIRRORED_WORDS),
        *(phrases.BIG_WORDS, phrases.SMALL_WORDS, *phrases.CORNER_WORDS.values()),
        *(phrases.ARTICLES.values()),
        *(phrases.BACKGROUNDS_IN.values()),
    )
    texts = [text for source in sources for text in source] + list(phrases.PLAIN_WORDS)
    return {word for text in texts for word in text.split() if word not in ("{}", "&")}


def write(things: list[Thing], folder: Path) -> None:
    _save(abilities(things), folder)


def note_pairs(share: float, folder: Path) -> None:
    """Add the measured share of pictures of two things that show both."""
    known = json.loads((folder / FILE).read_text("utf-8"))
    _save(known | {"pairs_right": round(share, 2)}, folder)


def _save(known: dict[str, Any], folder: Path) -> None:
    text = json.dumps(known, ensure_ascii=False, separators=(",", ":"))
    (folder / FILE).write_text(text + "\n", encoding="utf-8")
