"""What people might type for a picture."""

import random
from collections import Counter
from dataclasses import dataclass

from training.data import BACKGROUNDS, SIZE, SMALL, TINTS, Scene, Thing

MAX_TOKENS = 24
EMPTY = 0.1
"""Share of captions left empty, which classifier-free guidance needs."""
UNKNOWN = 0.03
"""Share of captions that name nothing we can draw: they must still give a clean picture."""

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    **{colour: (colour,) for colour in (*BACKGROUNDS, *TINTS)},
    "gray": ("gray", "grey"),
    "purple": ("purple", "violet"),
    "teal": ("teal", "turquoise"),
}
TOO_GENERAL = {
    "animal",
    "nature",
    "face",
    "food",
    "sky",
    "happy",
    "pet",
    "plant",
    "fruit",
    "vehicle",
    "place",
    "weather",
    "sport",
    "game",
    "music",
    "object",
    "tool",
    "office",
    "cute",
    "person",
    "big",
    "red",
    "green",
    "blue",
    "yellow",
    "pink",
    "orange",
    "black",
    "white",
    "brown",
    "purple",
    "small",
    "head",
    "body",
    "full",
    "color",
    "mouth",
    "eye",
    "eyes",
    "man",
    "woman",
    "up",
    "on",
    "and",
}
"""Keywords that say little about what is in the picture."""
SHARED_BY = 4
"""A keyword counts as a name of a thing while at most this many things share it."""

OPENINGS = (
    "a photo of",
    "a picture of",
    "an image of",
    "a drawing of",
    "an illustration of",
    "a render of",
    "a 3d render of",
    "a painting of",
    "an icon of",
    "a portrait of",
    "draw",
    "show me",
    "photo of",
)
ADJECTIVES = (
    "beautiful",
    "cute",
    "nice",
    "lovely",
    "funny",
    "pretty",
    "cool",
    "simple",
    "single",
    "great",
    "realistic",
    "detailed",
    "colorful",
    "shiny",
    "friendly",
    "magical",
    "old",
    "new",
    "fantastic",
)
ENDINGS = (
    "high quality",
    "highly detailed",
    "4k",
    "8k",
    "digital art",
    "trending on artstation",
    "3d",
    "masterpiece",
    "soft light",
    "concept art",
    "studio lighting",
    "sharp focus",
    "centered",
    "professional photo",
    "best quality",
    "cinematic",
    "photorealistic",
    "in 3d style",
    "emoji",
)
NOTHING_KNOWN = (
    "something",
    "anything",
    "stuff",
    "thing",
    "whatever",
    "a random thing",
    "lorem ipsum",
    "hello",
    "a quixotic idea",
    "the meaning of life",
    "asdf",
    "xyzzy",
    "philosophy",
    "a theory",
    "nothing",
)
MIRRORED_WORDS = ("mirrored", "flipped", "facing right", "facing the other way")
BIG_WORDS, SMALL_WORDS = ("big", "large", "huge"), ("small", "little", "tiny", "miniature")


@dataclass(frozen=True)
class Names:
    """What a thing may be called, and how often."""

    words: tuple[str, ...]
    weights: tuple[float, ...]


def names(things: list[Thing]) -> list[Names]:
    """Label and aliases first, keywords where few things share them."""
    shared = Counter(word for thing in things for word in thing.keywords)
    own = {word.lower() for thing in things for word in (thing.label, *thing.aliases)}
    result = []
    for thing in things:
        weighted = {thing.label.lower(): 4.0}
        weighted |= {alias.lower(): 2.0 for alias in thing.aliases}
        for word in thing.keywords:
            plain = word.replace(" ", "").isalpha() and len(word) > 2
            if plain and word not in own and word not in TOO_GENERAL and shared[word] <= SHARED_BY:
                weighted.setdefault(word, 0.5 / shared[word])
        result.append(Names(tuple(weighted), tuple(weighted.values())))
    return result


def plural(noun: str) -> str:
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun if noun.endswith("s") else noun + "es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _colour(colour: str, rng: random.Random) -> str:
    return rng.choice(COLOUR_WORDS[colour])


def background_phrase(colour: str, rng: random.Random) -> str:
    word = _colour(colour, rng)
    return rng.choice(
        (
            f"on {article(word)} {word} background",
            f"on {article(word)} {word} background",
            f"with {article(word)} {word} background",
            f"on {word}",
            f"on {word} background",
            f"against {article(word)} {word} background",
            f"{word} background",
            f"in front of {article(word)} {word} wall",
        )
    )


@dataclass(frozen=True)
class Caption:
    """A text, and what it tells of the scene; nothing where it is empty.

    A mirrored thing is always told: where two pictures fit a text equally, strong guidance draws
    both into one.
    """

    text: str = ""
    thing: int | None = None
    background: str | None = None
    tint: str | None = None
    small: bool = False
    mirrored: bool = False


def _described(noun: str, size: str | None, scene: Scene, rng: random.Random) -> str:
    """The noun with its size, colour and some idle adjective."""
    words = [size] if size else []
    if rng.random() < 0.08:
        words.append(rng.choice(ADJECTIVES))
    if scene.tint is not None:
        words.append(_colour(scene.tint, rng))
    return " ".join([*words, noun])


def _size(scene: Scene, rng: random.Random) -> str | None:
    if scene.side == SMALL and rng.random() < 0.6:
        return rng.choice(SMALL_WORDS)
    if scene.side > SMALL and rng.random() < 0.06:
        return rng.choice(BIG_WORDS)
    return None


def _subject(phrase: str, rng: random.Random) -> str:
    start = rng.random()
    if start < 0.45:
        phrase = f"{article(phrase)} {phrase}"
    elif start < 0.55:
        phrase = f"the {phrase}"
    return f"{rng.choice(OPENINGS)} {phrase}" if rng.random() < 0.15 else phrase


def _gibberish(rng: random.Random) -> str:
    """Something that is no word."""
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 9)))


def _unknown(rng: random.Random) -> str:
    return rng.choice(NOTHING_KNOWN) if rng.random() < 0.5 else _gibberish(rng)


def caption(names: list[Names], scene: Scene, rng: random.Random) -> Caption:
    """One of the many captions that fit the scene, or none."""
    chance = rng.random()
    if chance < EMPTY:
        return Caption()
    names_it = scene.tint is not None or chance >= EMPTY + UNKNOWN
    name, size = names[scene.thing], _size(scene, rng) if names_it else None
    if names_it:
        noun = rng.choices(name.words, name.weights)[0]
        noun = plural(noun) if rng.random() < 0.07 else noun
        text = _subject(_described(noun, size, scene, rng), rng)
    else:
        text = _unknown(rng)
    mirrored = scene.mirrored and names_it
    if mirrored:
        text += f" {rng.choice(MIRRORED_WORDS)}"
    told = 0.3 if scene.background == "white" else 0.8
    tells_background = scene.side <= SIZE and rng.random() < told
    if tells_background:
        comma = ", " if rng.random() < 0.15 else " "
        text += comma + background_phrase(scene.background, rng)
    if rng.random() < 0.08:
        text += ", " + rng.choice(ENDINGS)
    return Caption(
        text,
        thing=scene.thing if names_it else None,
        background=scene.background if tells_background else None,
        tint=scene.tint,
        small=size in SMALL_WORDS,
        mirrored=mirrored,
    )
