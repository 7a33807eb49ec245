"""Splits a prompt into chunks of the text encoder's length."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from transformers import CLIPTokenizer

from backend.prompt_syntax import Fragment, PromptSyntax, parse

MAX_CHUNKS = 8  # per prompt: 600 tokens for Stable Diffusion 1.4
COMMA_REACH = 20  # tokens: a shorter clause after a comma moves to the next chunk as a whole

Vectors = Mapping[str, torch.Tensor]  # [vectors, hidden] of embeddings, by name in lower case


class Token(NamedTuple):
    """One position of a chunk: a token id, or a vector that replaces its embedding."""

    id: int
    weight: float
    vector: torch.Tensor | None = None  # [hidden]


class Piece(NamedTuple):
    """Tokens that must stay in one chunk, and their position in the fragment's text."""

    tokens: tuple[Token, ...]
    start: int


@dataclass
class Chunk:
    """The tokens between start and end token."""

    tokens: list[Token] = field(default_factory=list)
    comma: int | None = None  # position after the last comma


class Chunks(NamedTuple):
    """A split prompt; `unread` is the end that did not fit."""

    chunks: list[list[Token]]
    unread: str = ""


class Chunker:
    """Splits prompts with a tokenizer. Thread-safe."""

    def __init__(
        self,
        tokenizer: CLIPTokenizer,
        vectors: Callable[[], Vectors] = lambda: {},
        read: Callable[[str], str] = str,
    ) -> None:
        """`read` blanks the words of a text that the model should not read."""
        self._tokenizer = tokenizer
        self._read = read
        self._vectors = vectors
        self._lock = threading.Lock()  # fast tokenizers are not thread-safe
        self._comma = tokenizer(",", add_special_tokens=False)["input_ids"][-1]

    @property
    def window(self) -> int:
        """Tokens of text per chunk, without start and end."""
        return int(self._tokenizer.model_max_length) - 2

    def split(self, prompt: str, syntax: PromptSyntax) -> Chunks:
        """Split into chunks. A plain prompt has only one; anything longer is unread."""
        vectors = self._vectors()
        most = 1 if syntax is PromptSyntax.PLAIN else MAX_CHUNKS
        chunks: list[Chunk] = []
        parts = parse(prompt, syntax)
        for number, part in enumerate(parts):
            chunks.append(Chunk())
            for place, fragment in enumerate(part):
                for piece in self._pieces(fragment, vectors):
                    self._append(chunks, piece.tokens, breaks=most > 1)
                    if len(chunks) > most:
                        rest = fragment.text[piece.start :]
                        rest += "".join(other.text for other in part[place + 1 :])
                        later = ("".join(f.text for f in other) for other in parts[number + 1 :])
                        return _cut(chunks, most, " ".join([rest, *later]).strip())
            if len(chunks) == most and number + 1 < len(parts):
                later = ("".join(f.text for f in other) for other in parts[number + 1 :])
                return _cut(chunks, most, " ".join(later).strip())
        if len(chunks) > 1 and not chunks[-1].tokens:
            del chunks[-1]  # a BREAK at the end starts no chunk
        return Chunks([chunk.tokens for chunk in chunks])

    def tensors(self, chunk: Sequence[Token]) -> tuple[torch.Tensor, Mapping[int, torch.Tensor]]:
        """Token ids [1, tokens] with start, end and padding, and the vectors by position."""
        tokenizer = self._tokenizer
        ids = [tokenizer.bos_token_id, *(token.id for token in chunk), tokenizer.eos_token_id]
        ids += [tokenizer.pad_token_id] * (self.window + 2 - len(ids))
        vectors = {n + 1: t.vector for n, t in enumerate(chunk) if t.vector is not None}
        return torch.tensor([ids]), vectors

    def weights(self, chunk: Sequence[Token]) -> list[float]:
        """One weight for each position of `tensors`."""
        behind = self.window + 1 - len(chunk)
        return [1.0, *(token.weight for token in chunk), *[1.0] * behind]

    def _append(self, chunks: list[Chunk], tokens: tuple[Token, ...], *, breaks: bool) -> None:
        """Add tokens to the last chunk, or start another one if they don't fit."""
        chunk = chunks[-1]
        room = self.window - len(chunk.tokens)
        is_comma = tokens[0].vector is None and tokens[0].id == self._comma
        if is_comma and room:
            chunk.comma = len(chunk.tokens) + 1
        if len(tokens) > room and chunk.tokens:
            new = Chunk()
            moved = len(chunk.tokens) - (chunk.comma or 0)
            may_move = breaks and room == 0 and not is_comma
            if may_move and chunk.comma and moved < COMMA_REACH:
                new.tokens = chunk.tokens[chunk.comma :]
                del chunk.tokens[chunk.comma :]
            chunks.append(new)
        chunks[-1].tokens.extend(tokens[: self.window])

    def _pieces(self, fragment: Fragment, vectors: Vectors) -> Iterator[Piece]:
        text, weight, position = fragment.text, fragment.weight, 0
        for found in _names(text, vectors):
            yield from self._words(text[position : found.start()], position, weight)
            pad = int(self._tokenizer.eos_token_id)
            own = (Token(pad, weight, vector) for vector in vectors[found[0].lower()])
            yield Piece(tuple(own), found.start())
            position = found.end()
        yield from self._words(text[position:], position, weight)

    def _words(self, text: str, position: int, weight: float) -> Iterator[Piece]:
        if not text:
            return
        with self._lock:
            found = self._tokenizer(
                self._read(text),
                add_special_tokens=False,
                truncation=False,
                return_offsets_mapping=True,
            )
        for token, (start, _) in zip(found["input_ids"], found["offset_mapping"], strict=True):
            yield Piece((Token(token, weight),), position + start)


def _names(text: str, vectors: Vectors) -> Iterator[re.Match[str]]:
    """Occurrences of embeddings' names; longer names match first."""
    if not vectors:
        return iter(())
    names = "|".join(re.escape(name) for name in sorted(vectors, key=len, reverse=True))
    return re.finditer(rf"(?<!\w)(?:{names})(?!\w)", text, re.IGNORECASE)


def _cut(chunks: list[Chunk], most: int, unread: str) -> Chunks:
    return Chunks([chunk.tokens for chunk in chunks[:most]], unread)
