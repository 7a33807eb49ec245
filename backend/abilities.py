"""What a model can draw, and finding the words of a prompt that it does not know.

The format of `abilities.json` and the rule for unknown words are in `docs/abilities.md`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from backend.domain import GenerationWarning
from backend.prompt_syntax import PromptSyntax, plain_text

MAX_UNKNOWN = 8  # words reported in one answer
MAX_WORD = 40  # characters; longer words are not looked up
RELIABLE = 0.75  # share of pictures below which a warning is due
MIN_LIKENESS = 0.8  # similarity of spelling, 0 to 1
# Letters and digits, with apostrophes and hyphens inside.
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")

NUMBERS = frozenset(("2", "3", "4", "5", "6", "two", "three", "four", "five", "six"))

Words = Mapping[str, tuple[str, ...]]
Phrase = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that the model can draw, with all words for it."""

    name: str
    group: str
    emoji: str = ""
    synonyms: tuple[str, ...] = ()
    other_words: tuple[str, ...] = ()  # plurals and names in other languages


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt that works well. `thumbnail` is a small WebP, or empty."""

    prompt: str
    seed: int
    thumbnail: bytes = b""


@dataclass(frozen=True)
class Abilities:
    """A model's abilities. Sizes are (width, height) in pixels; words are in lower case."""

    about: str = ""
    languages: tuple[str, ...] = ("en",)
    reads_emoji: bool = False
    token_limit: int = 0
    sizes: tuple[tuple[int, int], ...] = ()
    things: tuple[Thing, ...] = ()
    colours: Words = field(default_factory=dict)
    backgrounds: Words = field(default_factory=dict)
    landscapes: Words = field(default_factory=dict)
    looks: Words = field(default_factory=dict)
    counts: Words = field(default_factory=dict)
    compositions: Words = field(default_factory=dict)
    pairs_right: float = 1.0  # share of pictures of two different things that show both
    modifiers: tuple[str, ...] = ()
    skips_unknown: bool = False  # unknown words are not read: they would spoil the picture
    near: Words = field(default_factory=dict)
    examples: tuple[Example, ...] = ()

    def check(
        self, prompt: str, syntax: PromptSyntax = PromptSyntax.PLAIN
    ) -> tuple[GenerationWarning, ...]:
        """All warnings that depend only on the prompt's text."""
        warnings = self.warnings(plain_text(prompt, syntax))
        return (*self._length(prompt), *warnings) if syntax is PromptSyntax.PLAIN else warnings

    def _length(self, prompt: str) -> Iterator[GenerationWarning]:
        """A word is at least one token, so with more words than tokens the end is truncated."""
        words = list(re.finditer(r"\S+", self.read(prompt)))
        if self.token_limit and len(words) > self.token_limit:
            rest = prompt[words[self.token_limit].start() :]
            text = f"Only about the first {self.token_limit} words are read."
            yield GenerationWarning("prompt", text, "PROMPT_CUT", rest)

    def warnings(self, prompt: str) -> tuple[GenerationWarning, ...]:
        """Warnings about unknown words (at most `MAX_UNKNOWN`) and unsupported combinations."""
        found = list(dict.fromkeys(self.unknown_words(prompt)))
        named = self._named(prompt)
        warnings = [*self._crowd(prompt, named)]
        for word in found[:MAX_UNKNOWN]:
            is_action = bool(named) and word.endswith("ing")  # of the thing beside it
            warnings.append(self._warning(word, () if is_action else self.nearest(word)))
        if len(found) > MAX_UNKNOWN:
            more = f"I don't know {len(found) - MAX_UNKNOWN} more words of this prompt."
            warnings.append(GenerationWarning("prompt", more, "UNKNOWN_WORD"))
        return tuple(warnings)

    def read(self, text: str) -> str:
        """`text` as the model should read it: with blanks in place of the words it skips."""
        if not self.skips_unknown:
            return text
        pieces, end = [], 0
        for word in self._unknown(text):
            pieces += [text[end : word.start()], " " * len(word[0])]
            end = word.end()
        return "".join([*pieces, text[end:]])

    def unknown_words(self, prompt: str) -> Iterator[str]:
        """The words that are not part of a known phrase; longer phrases match first."""
        if not self.reads_emoji:
            yield from (sign for sign in self._by_emoji if sign in prompt)
        yield from (word[0].lower() for word in self._unknown(prompt))

    def _unknown(self, text: str) -> Iterator[re.Match[str]]:
        found = list(WORD.finditer(text))
        words = [word[0].lower() for word in found]
        taken = self._phrases(words)
        for place, word in enumerate(words):
            if place in taken:
                continue
            parts = re.split("['’-]", word)
            if (word not in NUMBERS or self.counts) and not all(
                (part,) in self._lexicon for part in parts
            ):
                yield found[place]

    def _phrases(self, words: Sequence[str]) -> dict[int, Phrase]:
        """The matched phrase by word position; no word belongs to two phrases."""
        taken: dict[int, Phrase] = {}
        for length in range(min(self._longest, len(words)), 0, -1):
            for start in range(len(words) - length + 1):
                phrase = tuple(words[start : start + length])
                places = range(start, start + length)
                if phrase in self._lexicon and not any(place in taken for place in places):
                    taken.update(dict.fromkeys(places, phrase))
        return taken

    def _named(self, prompt: str) -> Mapping[str, str]:
        """Names of the things in a prompt, and the words that it has for them."""
        taken = self._phrases(WORD.findall(prompt.lower()))
        return {self._things[p]: " ".join(p) for p in taken.values() if p in self._things}

    def _crowd(self, prompt: str, named: Mapping[str, str]) -> Iterator[GenerationWarning]:
        """Warnings about a second thing or a number, if the model draws only one thing well."""
        if len(named) > 1 and (not self.compositions or self.pairs_right < RELIABLE):
            second = list(named.values())[1]
            text = f"I draw one thing at a time, and may leave out “{second}”."
            if self.compositions:
                text = (
                    f"Two different things come out right in about {self.pairs_right:.0%} of my "
                    f"pictures: “{second}” may be missing or mixed up."
                )
            yield GenerationWarning("prompt", text, "ONE_THING", second)
        for word in WORD.findall(prompt.lower()) if not self.counts else ():
            if word in NUMBERS:
                text = f"I draw one thing at a time: “{word}” changes nothing."
                yield GenerationWarning("prompt", text, "ONE_THING", word)
                return

    def _warning(self, word: str, nearest: tuple[str, ...]) -> GenerationWarning:
        text = f"I don't know “{word}”"
        if self.skips_unknown:
            text += " and leave it out"
        if nearest:
            text += f"; the nearest I can draw is “{nearest[0]}”"
        return GenerationWarning("prompt", f"{text}.", "UNKNOWN_WORD", word, nearest)

    def nearest(self, word: str) -> tuple[str, ...]:
        """Names of things that could replace an unknown word, the nearest first."""
        if word in self._by_emoji:
            return (self._by_emoji[word],)
        if word in self._near:
            return (self._near[word],)
        if len(word) > MAX_WORD:
            return ()
        alike = [
            name
            for name in self._names
            if name[0] == word[0] and abs(len(name) - len(word)) <= max(1, len(word) // 4)
        ]
        return tuple(difflib.get_close_matches(word, alike, 1, MIN_LIKENESS))

    @cached_property
    def _lexicon(self) -> frozenset[Phrase]:
        """All known phrases, as tuples of words."""
        kinds = (
            self.colours,
            self.backgrounds,
            self.landscapes,
            self.looks,
            self.counts,
            self.compositions,
        )
        texts = {
            *(text for kind in kinds for texts in kind.values() for text in texts),
            *self.counts,
            *self.modifiers,
            *(text for t in self.things for text in (t.name, *t.synonyms, *t.other_words)),
        }
        return frozenset(tuple(WORD.findall(text)) for text in texts)

    @cached_property
    def _things(self) -> Mapping[Phrase, str]:
        """Phrases that only name a thing, with the thing's name.

        Synonyms count only if their plural is among the thing's words: others are vague.
        """
        kinds = (self.colours, self.backgrounds)
        others = {*self.modifiers, *(t for kind in kinds for texts in kind.values() for t in texts)}
        found: dict[Phrase, str] = {}
        for thing in self.things:
            plurals = set(thing.other_words)
            nouns = {text for text in thing.synonyms if {f"{text}s", f"{text}es"} & plurals}
            for text in {thing.name, *nouns, *plurals} - others:
                found.setdefault(tuple(WORD.findall(text)), thing.name)
        return found

    @cached_property
    def _longest(self) -> int:
        return max((len(phrase) for phrase in self._lexicon), default=0)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """Single words that only name a thing."""
        return tuple(phrase[0] for phrase in self._things if len(phrase) == 1)

    @cached_property
    def _by_emoji(self) -> Mapping[str, str]:
        return {thing.emoji: thing.name for thing in self.things if thing.emoji}

    @cached_property
    def _near(self) -> Mapping[str, str]:
        return {word: name for name, words in self.near.items() for word in words}
