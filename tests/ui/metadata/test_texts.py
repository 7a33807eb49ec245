"""Settings that go along when a picture is enlarged."""

import io

from PIL import Image

from tests.ui.metadata.pictures import international, png
from ui.metadata.reader import read_file
from ui.metadata.texts import with_texts_of


def plain(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), "teal").save(file, "PNG")
    return file.getvalue()


def test_the_settings_go_along_and_the_pixels_stay() -> None:
    words = "a 猫 (red:1.2)\nSteps: 12, Seed: 42, Size: 64x64, Version: v1"
    source = png(international("parameters", words), international("Comment", "private"))
    made = with_texts_of(source, plain(16))
    recipe, _ = read_file(made)
    assert (recipe.prompt, recipe.steps, recipe.seed) == ("a 猫 (red:1.2)", 12, 42)
    with Image.open(io.BytesIO(made)) as picture:
        assert picture.size == (16, 16)
        assert picture.getpixel((8, 8)) == (0, 128, 128)
        assert set(picture.info) == {"parameters"}
