"""Prompts: what of them is read, and what the caller is told of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.domain import GenerationWarning
from tests.support.tiny_sd import load_tiny, tiny_params

READ = 14  # of the tiny model's 16 tokens, start and end take two


def cut(model_folder: Path, **params: object) -> tuple[GenerationWarning, ...]:
    return load_tiny(model_folder).warnings(tiny_params(**params))


def test_a_prompt_that_is_read_whole_says_nothing(tiny_model: Path) -> None:
    assert cut(tiny_model, prompt="cat " * READ, negative_prompt="red " * READ) == ()


def test_what_is_cut_is_told_letter_for_letter(tiny_model: Path) -> None:
    (warning,) = cut(tiny_model, prompt="Cat " * READ + "the  RED Cat")
    assert (warning.field, warning.reason) == ("prompt", "PROMPT_CUT")
    assert warning.description == (
        "Only the first 14 tokens of the prompt were read; this was cut: “the  RED Cat”."
    )


def test_each_text_is_told_on_its_own(tiny_model: Path) -> None:
    long = "red " * READ + "cat"
    found = cut(tiny_model, prompt=long, negative_prompt=long)
    assert [warning.field for warning in found] == ["prompt", "negative_prompt"]
    assert "of the negative prompt were read" in found[1].description


@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_a_negative_prompt_without_guidance_has_no_effect(
    tiny_model: Path, guidance: float
) -> None:
    long = "red " * READ + "cat"
    (warning,) = cut(tiny_model, negative_prompt=long, guidance_scale=guidance)
    assert (warning.field, warning.reason) == ("negative_prompt", "NO_EFFECT")
