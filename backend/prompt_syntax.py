"""Parses AUTOMATIC1111's prompt syntax: weights, BREAK, escapes, LoRA tags.

The rules: https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features, under emphasis.
All scans are linear, since the texts are untrusted.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

STRONGER = 1.1  # weight of a pair of brackets
MAX_WEIGHT = 10.0  # largest absolute weight of a word; nested brackets multiply

MARK = re.compile(
    r"\\[\\()\[\]]"  # an escaped character
    r"|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)"  # the weight that ends a bracket
    r"|[()\[\]]"
    r"|[^\\()\[\]:]+|[\\:]"  # text
)
BREAK = re.compile(r"\s*\bBREAK\b\s*")
LORA = re.compile(r"<lora:([^<>:]*)(?::([^<>]*))?>")
UNSUPPORTED = (
    (re.compile(r"\[[^\[\]:]*:[^\[\]]*:\s*[\d.]+\s*\]"), "changing the prompt at a step"),
    (re.compile(r"\[[^\[\]|]*\|[^\[\]]*\]"), "alternating words"),
    (re.compile(r"\bAND\b"), "composing prompts with AND"),
    (re.compile(r"<(?:hypernet|lyco):[^<>]*>"), "hypernetworks and LyCORIS tags"),
)


class PromptSyntax(enum.Enum):
    """The syntax of a prompt. PLAIN: every character is text."""

    PLAIN = "plain"
    A1111 = "a1111"


class Fragment(NamedTuple):
    """A text and the weight of its tokens."""

    text: str
    weight: float = 1.0


class LoraTag(NamedTuple):
    """`<lora:name:0.8>`; an invalid scale is NaN."""

    name: str
    scale: float


def parse(prompt: str, syntax: PromptSyntax) -> list[list[Fragment]]:
    """The parts between BREAKs, each as fragments of one weight; without LoRA tags."""
    if syntax is PromptSyntax.PLAIN:
        return [[Fragment(prompt)]]
    parts: list[list[Fragment]] = [[]]
    for text, weight in _weighted(prompt):
        if text is None:
            parts.append([])
        elif parts[-1] and parts[-1][-1].weight == weight:
            parts[-1][-1] = Fragment(parts[-1][-1].text + text, weight)
        elif text:
            parts[-1].append(Fragment(text, weight))
    return [part or [Fragment("")] for part in parts]


def plain_text(prompt: str, syntax: PromptSyntax) -> str:
    """The prompt's words without syntax."""
    parts = parse(take_loras(prompt)[0] if syntax is PromptSyntax.A1111 else prompt, syntax)
    return " ".join("".join(fragment.text for fragment in part) for part in parts)


def take_loras(prompt: str) -> tuple[str, list[LoraTag]]:
    """The prompt without its LoRA tags, and the tags."""
    tags = [LoraTag(m[1].strip(), _number(m[2])) for m in LORA.finditer(prompt)]
    return (LORA.sub("", prompt).strip() if tags else prompt), tags


def heaviest(prompt: str) -> float:
    """The largest absolute weight in the prompt."""
    return max(
        abs(fragment.weight) for part in parse(prompt, PromptSyntax.A1111) for fragment in part
    )


def unsupported(prompt: str) -> Iterator[tuple[str, str]]:
    """Syntax of AUTOMATIC1111 that we don't support: the excerpt and the feature's name."""
    for pattern, name in UNSUPPORTED:
        found = pattern.search(prompt)
        if found:
            yield found[0], name


def _number(text: str | None) -> float:
    try:
        return 1.0 if text is None else float(text)
    except ValueError:
        return math.nan


def _weighted(prompt: str) -> list[tuple[str | None, float]]:
    """Pieces of text with their weights; None means BREAK.

    A bracket's weight applies up to its end, or to the prompt's end if it is never closed; a
    closing bracket without an opening one is text. Round and square brackets are independent.
    """
    pieces: list[tuple[str | None, float]] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def weigh(start: int, factor: float) -> None:
        pieces[start:] = [(text, weight * factor) for text, weight in pieces[start:]]

    for mark in MARK.finditer(prompt):
        sign, weight = mark[0], mark[1]
        if len(sign) == 2 and sign[0] == "\\":
            pieces.append((sign[1], 1.0))
        elif sign in opened:
            opened[sign].append(len(pieces))
        elif weight is not None and opened["("]:
            weigh(opened["("].pop(), float(weight))
        elif sign == ")" and opened["("]:
            weigh(opened["("].pop(), STRONGER)
        elif sign == "]" and opened["["]:
            weigh(opened["["].pop(), 1 / STRONGER)
        else:
            for number, text in enumerate(BREAK.split(sign)):
                pieces += [(None, 1.0)] * (number > 0) + [(text, 1.0)]
    for start in opened["("]:
        weigh(start, STRONGER)
    for start in opened["["]:
        weigh(start, 1 / STRONGER)
    return pieces
