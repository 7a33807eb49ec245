"""Random captions as people might type them."""

import random
from collections import Counter
from dataclasses import dataclass, field

from training import phrases
from training.scenes import COLOURS, LARGE, SMALL, Placed, Scene
from training.things import LANGUAGES, Thing

EMPTY = 0.08
"""Share of captions left empty, which classifier-free guidance needs."""
SHARED_BY = 4
"""A keyword counts as a name of a thing while at most this many things share it."""
FOREIGN, EMOJI = 0.12, 0.05
"""Shares of the captions of one thing that are in another language, and that show the emoji."""
TOLD = 0.98
"""Share of the captions that name a background that is not white; unnamed, it is white.
With 0.8 the sketch of "a cat" was a blend of backgrounds, and half of the pictures blotches."""


@dataclass(frozen=True)
class Names:
    """The names of a thing and their weights."""

    words: tuple[str, ...]
    weights: tuple[float, ...]
    emoji: str = ""
    foreign: dict[str, tuple[str, ...]] = field(default_factory=dict)


def _english(thing: Thing, own: set[str], shared: Counter[str]) -> dict[str, float]:
    """English names with weights: label, aliases, and keywords shared by few things."""
    weighted = {thing.label.lower(): 3.0}
    weighted |= {alias.lower(): 3.0 for alias in thing.aliases}
    for word in thing.keywords:
        plain = word.replace(" ", "").isalpha() and word.isascii() and len(word) > 2
        known = word in own or word in phrases.TOO_GENERAL or shared[word] > SHARED_BY
        if plain and not known:
            weighted.setdefault(word, 0.5 / shared[word])
    return weighted


def _unshared(words: list[str], shared: Counter[tuple[str, str]], language: str) -> tuple[str, ...]:
    """The label, and at most two other names shared by few things."""
    others = [w for w in words[1:] if w != words[0] and shared[language, w] < 3]
    return (*words[:1], *others[:2])


def names(things: list[Thing]) -> list[Names]:
    shared = Counter(word for thing in things for word in thing.keywords)
    own = {word.lower() for thing in things for word in (thing.label, *thing.aliases)}
    foreign = Counter((lang, word) for thing in things for lang, word in thing.foreign)
    result = []
    for thing in things:
        weighted = _english(thing, own, shared)
        others = {
            language: _unshared(
                [w for lang, w in thing.foreign if lang == language], foreign, language
            )
            for language in LANGUAGES
        }
        result.append(Names(tuple(weighted), tuple(weighted.values()), thing.emoji, others))
    return result


def plural(noun: str) -> str:
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun if noun.endswith("s") else noun + "es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    if noun.endswith("man") and not noun.endswith("human"):
        return noun[:-2] + "en"
    return noun + "s"


def article(noun: str) -> str:
    return "an" if noun[:1].lower() in "aeiou" else "a"


def background_phrase(colour: str, rng: random.Random) -> str:
    word = rng.choice(phrases.COLOUR_WORDS[colour])
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


class Captions:
    """Random captions that fit scenes."""

    def __init__(self, all_names: list[Names], rng: random.Random) -> None:
        self.names, self.rng = all_names, rng

    def __call__(self, scene: Scene) -> str:
        """A random text that fits the scene; sometimes empty."""
        if self._chance(EMPTY):
            return ""
        if scene.layout == "single" and scene.background in COLOURS and self._chance(FOREIGN):
            return self._in_another_language(scene)
        text = self._opened(self._things(scene))
        if self._chance(0.06):
            text += f" {self._one(phrases.MIDDLES)}"
        if scene.first.mirrored:
            text += f" {self._one(phrases.MIRRORED_WORDS)}"
        if scene.place:
            text += f" {self._one(phrases.CORNER_WORDS[scene.place])}"
        text += self._look(scene) + self._background(scene)
        if self._chance(0.1):
            text += ", " + ", ".join(self.rng.sample(phrases.ENDINGS, self.rng.choice((1, 1, 3))))
        return text

    def nothing_known(self) -> str:
        """A text that names no thing."""
        if self._chance(0.5):
            return self._one(phrases.NOTHING_KNOWN)
        letters = self.rng.choices("abcdefghijklmnopqrstuvwxyz", k=self.rng.randint(3, 9))
        ending = f" {self._one(phrases.MIDDLES)}" if self._chance(0.3) else ""
        return "".join(letters) + ending

    def _chance(self, share: float) -> bool:
        return self.rng.random() < share

    def _one(self, choices: tuple[str, ...]) -> str:
        return self.rng.choice(choices)

    def _things(self, scene: Scene) -> str:
        first, last = scene.things[0], scene.things[-1]
        if scene.layout == "two":
            return (
                f"{self._one(('two', 'two', '2', 'a pair of', 'couple of'))} {self._several(first)}"
            )
        if scene.layout == "three":
            return f"{self._one(('three', 'three', '3'))} {self._several(first)}"
        if scene.layout == "pair":
            return self._one(phrases.PAIRS).format(self._a(first), self._a(last))
        if scene.layout == "stack":
            if self._chance(0.3):
                return self._one(phrases.WORN).format(self._a(first), self._a(last))
            return self._one(phrases.STACKS).format(self._a(last), self._a(first))
        size = self._size(scene)
        if self._chance(EMOJI) and first.tint is None and not size:
            return self.names[first.thing].emoji
        return self._a(first, size)

    def _noun(self, placed: Placed) -> str:
        name = self.names[placed.thing]
        return self.rng.choices(name.words, name.weights)[0]

    def _described(self, placed: Placed, noun: str, size: str = "") -> str:
        words = [size] if size else []
        if self._chance(0.1):
            words.append(self._one(phrases.ADJECTIVES))
        if placed.tint is not None:
            words.append(self._one(phrases.COLOUR_WORDS[placed.tint]))
        return " ".join([*words, noun])

    def _a(self, placed: Placed, size: str = "") -> str:
        """The thing with "a", "the" or no article."""
        phrase = self._described(placed, self._noun(placed), size)
        start = self.rng.random()
        if start < 0.5:
            return f"{article(phrase)} {phrase}"
        return f"the {phrase}" if start < 0.58 else phrase

    def _several(self, placed: Placed) -> str:
        return self._described(placed, plural(self._noun(placed)))

    def _size(self, scene: Scene) -> str:
        if scene.layout != "single":
            return ""
        if scene.first.side == SMALL:
            return self._one(phrases.SMALL_WORDS)
        return (
            self._one(phrases.BIG_WORDS) if scene.first.side >= LARGE and self._chance(0.05) else ""
        )

    def _opened(self, phrase: str) -> str:
        return f"{self._one(phrases.OPENINGS)} {phrase}" if self._chance(0.18) else phrase

    def _look(self, scene: Scene) -> str:
        if scene.first.flat:
            return f", {self._one(phrases.FLAT_WORDS)}"
        return f", {self._one(phrases.THREE_D_WORDS)}" if self._chance(0.06) else ""

    def _background(self, scene: Scene) -> str:
        if scene.fills:
            return ""
        if scene.background not in COLOURS:
            return f" {self._one(phrases.LANDSCAPE_PHRASES[scene.background])}"
        if not self._chance(0.3 if scene.background == "white" else TOLD):
            return ""
        comma = ", " if self._chance(0.15) else " "
        return comma + background_phrase(scene.background, self.rng)

    def _in_another_language(self, scene: Scene) -> str:
        language = self.rng.choice(LANGUAGES)
        placed, colours = scene.first, phrases.FOREIGN_COLOURS[language]
        words = self.names[placed.thing].foreign.get(language, ())
        if not words or placed.flat or placed.mirrored or placed.side == SMALL:
            return ""
        noun = words[0] if self._chance(0.6) else self._one(words)
        parts = [noun.lower()]
        if placed.tint is not None:
            parts.insert(0 if language == "de" else 1, self._one(colours[placed.tint]))
        if self._chance(0.6):
            parts.insert(0, self._one(phrases.ARTICLES[language]))
        if not scene.fills and (self._chance(0.8) or scene.background != "white"):
            phrase = self._one(phrases.BACKGROUNDS_IN[language])
            parts.append(phrase.format(self._one(colours[scene.background])))
        return " ".join(parts)
