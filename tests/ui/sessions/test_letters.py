"""Captions of the contact sheet: whole in every script that a font has, and no boxes."""

import pytest
from PIL import Image, ImageDraw

from ui.sessions.letters import NO_LETTER, Letters, fonts

WIDTH = 400


def drawn(text: str, width: int = WIDTH) -> tuple[Letters, Image.Image]:
    letters, sheet = Letters(18), Image.new("L", (WIDTH, 40), 255)
    letters.draw(ImageDraw.Draw(sheet), (0, 4), text, "black", width)
    return letters, sheet


@pytest.mark.parametrize("text", ["Grüße, Ærø", "Кошка", "γάτα", "con mèo"])
def test_letters_of_europe_are_drawn_without_any_font_of_the_system(text: str) -> None:
    letters, sheet = drawn(text)
    assert not letters.missing
    font, blank = fonts(18)[0]
    assert all(bytes(font.getmask(letter)) != blank for letter in text if letter != " ")
    box = Image.eval(sheet, lambda value: 255 - value).getbbox()
    assert box is not None
    assert box[2] == pytest.approx(font.getlength(text), abs=3)


def test_a_letter_that_no_font_has_is_left_out_and_remembered() -> None:
    letters, with_it = drawn(f"a{NO_LETTER}b")
    assert letters.missing == {NO_LETTER}
    assert with_it.tobytes() == drawn("ab")[1].tobytes()


def test_a_long_line_is_cut_to_its_width() -> None:
    _, sheet = drawn("Ж" * 200, width=150)
    box = Image.eval(sheet, lambda value: 255 - value).getbbox()
    assert box is not None
    assert 120 < box[2] <= 152
