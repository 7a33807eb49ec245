"""A model's card: its licence and the figures that were measured."""

from pathlib import Path

import pytest

from backend.model.checkpoint.card import ModelCard, read_card
from backend.params import Figure

CARD = """---
license: {license}
tags: [a]
---
# A model

| other | table |
| --- | --- |
| no | figure |

| Measure | Value |
| --- | ---: |
| `cats` drawn | **9** of 10 |
| size | 5 MB |

| after | it |
| not | this |
"""


def card(folder: Path, text: str | bytes) -> ModelCard:
    (folder / "README.md").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_card(folder)


def test_licence_and_the_table_of_measures(tmp_path: Path) -> None:
    found = card(tmp_path, CARD.format(license="mit"))
    assert found == ModelCard("mit", (Figure("cats drawn", "9 of 10"), Figure("size", "5 MB")))


def test_a_licence_of_its_own_by_its_name(tmp_path: Path) -> None:
    assert card(tmp_path, CARD.format(license="other\nlicense_name: my-own")).license == "my-own"


@pytest.mark.parametrize(
    "text", ["", "# no head", "---\nlicense: [1, 2]\n---\n", "---\n{{{{\n---\n", b"\xff\xfe"]
)
def test_a_card_that_can_t_be_read_is_no_card(tmp_path: Path, text: str | bytes) -> None:
    assert card(tmp_path, text) == ModelCard()


def test_no_card(tmp_path: Path) -> None:
    assert read_card(tmp_path) == ModelCard()


def test_the_embedded_model_s_own() -> None:
    found = read_card(Path("models/text2image-mini"))
    assert found.license == "mit"
    assert any("size on disk" in figure.name for figure in found.figures)
