"""What buttons hand out, read outside of any session as Streamlit reads it."""

import io
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.ui.conftest import png
from tests.ui.pages import OWNER, Visit, keep
from ui.components.actions import bundle, zip_button
from ui.connection import services

COLOURS = ("red", "lime", "blue")


def first_pixels(archive: bytes) -> dict[str, tuple[int, ...]]:
    """Each picture of a zip by its name, as the colour of its corner."""
    found = {}
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        for name in opened.namelist():
            with Image.open(io.BytesIO(opened.read(name))) as picture:
                pixel = picture.convert("RGB").getpixel((0, 0))
            assert isinstance(pixel, tuple)
            found[name] = pixel
    return found


def test_a_zip_made_outside_the_session_holds_the_chosen_pictures(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit().run()
    kept = [keep("a cat", seed, colour).id for seed, colour in enumerate(COLOURS)]
    given: dict[str, Any] = {}
    monkeypatch.setattr("ui.components.actions.owner", lambda: OWNER)
    monkeypatch.setattr(
        "ui.components.actions.st.download_button", lambda *_, **options: given.update(options)
    )
    zip_button(kept, "test")
    monkeypatch.setattr("ui.components.actions.owner", lambda: "s-stranger")
    made: list[bytes] = []
    reader = threading.Thread(target=lambda: made.append(given["data"]()))
    reader.start()
    reader.join()
    assert first_pixels(made[0]) == {
        "a-cat-0.png": (255, 0, 0),
        "a-cat-1.png": (0, 255, 0),
        "a-cat-2.png": (0, 0, 255),
    }


def test_pictures_of_one_name_are_both_kept_and_a_lost_file_is_named(visit: Visit) -> None:
    visit().run()
    gallery = services().gallery
    same, other, lost = keep("cat", 1), keep("cat", 1, "blue"), keep("dog", 2)
    original = Path(services().settings.data_dir / "pictures")
    next(path for path in original.rglob(f"{lost.id}*") if path.suffix == ".png").unlink()
    made = bundle(gallery, OWNER, [same.id, other.id, lost.id])
    with zipfile.ZipFile(io.BytesIO(made)) as opened:
        assert opened.namelist() == ["cat-1.png", f"{other.id[:8]}-cat-1.png", "missing.txt"]
        assert opened.read("missing.txt") == b"dog-2.png"
        assert opened.read("cat-1.png") == png("red")


def test_a_stranger_s_pictures_are_left_out(visit: Visit) -> None:
    visit().run()
    mine, theirs = keep("mine"), keep("theirs", owner="s-eve")
    made = bundle(services().gallery, OWNER, [mine.id, theirs.id])
    assert list(first_pixels(made)) == ["mine-1.png"]
