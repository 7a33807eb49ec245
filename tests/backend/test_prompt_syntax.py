"""Prompts as AUTOMATIC1111's web UI reads them."""

from __future__ import annotations

import math
import time

import pytest

from backend.prompt_syntax import (
    Fragment,
    PromptSyntax,
    heaviest,
    parse,
    plain_text,
    take_loras,
    unsupported,
)

A1111 = PromptSyntax.A1111


def weights(prompt: str) -> list[tuple[str, float]]:
    """Texts and weights of a prompt without BREAK."""
    (part,) = parse(prompt, A1111)
    return [(fragment.text, round(fragment.weight, 4)) for fragment in part]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    # The examples of modules/prompt_parser.py, and its edges.
    [
        ("normal text", [("normal text", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        (r"\(literal\]", [("(literal]", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1.0),
                ("house", 1.573),
                (" ", 1.1),
                ("on", 1.0),
                (" a ", 1.1),
                ("hill", 0.55),
                (", sun, ", 1.1),
                ("sky", 1.4641),
                (".", 1.1),
            ],
        ),
        ("[[less]]", [("less", 0.8264)]),
        ("(a:1.3) b", [("a", 1.3), (" b", 1.0)]),
        ("(a: .5 )", [("a", 0.5)]),
        ("(a:-1)", [("a", -1.0)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("a:1.3)", [("a:1.3)", 1.0)]),
        ("ratio 3:4", [("ratio 3:4", 1.0)]),
        (r"back\slash", [(r"back\slash", 1.0)]),
        ("()", [("", 1.0)]),
        ("", [("", 1.0)]),
    ],
)
def test_weights(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert weights(prompt) == expected


def test_break_parts_and_keeps_no_space() -> None:
    assert parse("a cat BREAK\n(a dog BREAK red:2)", A1111) == [
        [Fragment("a cat")],
        [Fragment("a dog", 2.0)],
        [Fragment("red", 2.0)],
    ]
    assert len(parse("a BREAKFAST", A1111)) == 1


def test_a_plain_prompt_is_text_to_the_last_sign() -> None:
    text = "a (cat:1.3) BREAK <lora:x:1> [dog]"
    assert parse(text, PromptSyntax.PLAIN) == [[Fragment(text)]]
    assert plain_text(text, PromptSyntax.PLAIN) == text
    assert plain_text(text, A1111) == "a cat dog"


def test_lora_tags() -> None:
    prompt, tags = take_loras("<lora:ink:0.8>a cat <lora: oil > <lora:x:strong>")
    assert prompt == "a cat"
    assert tags[:2] == [("ink", 0.8), ("oil", 1.0)]
    assert math.isnan(tags[2].scale)
    assert take_loras(" a <b> ") == (" a <b> ", [])


def test_what_is_not_supported_is_named() -> None:
    prompt = "[cat:dog:0.5] [red|blue] sky AND sea <hypernet:x:1>"
    assert [excerpt for excerpt, _ in unsupported(prompt)] == [
        "[cat:dog:0.5]",
        "[red|blue]",
        "AND",
        "<hypernet:x:1>",
    ]
    assert list(unsupported("(a:1.2) [b] and c")) == []


@pytest.mark.parametrize(
    "text", ["(", "[", "(:", "[:", ":", "\\", "<lora:", ": ", "[a|", "BREAK ", "<"]
)
def test_no_text_costs_much(text: str) -> None:
    prompt = text * (2000 // len(text))
    started = time.process_time()
    heaviest(prompt)
    take_loras(prompt)
    list(unsupported(prompt))
    assert time.process_time() - started < 1.0
