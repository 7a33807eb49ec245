import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.ui.conftest import png
from ui.storage import files as module
from ui.storage.files import PictureFiles, make_thumbnail


def test_the_original_is_kept_byte_for_byte(files: PictureFiles) -> None:
    files.write("abc", png(), "image/png")
    path = files.original("abc")
    assert path is not None
    assert path.read_bytes() == png()


@pytest.mark.parametrize(
    ("size", "thumbnail"), [((64, 64), (384, 384)), ((1024, 512), (384, 192)), ((1, 500), (1, 384))]
)
def test_thumbnails_fit_a_square(
    files: PictureFiles, size: tuple[int, int], thumbnail: tuple[int, int]
) -> None:
    files.write("abc", png(size=size), "image/png")
    path = files.thumbnail("abc")
    assert path is not None
    with Image.open(path) as opened:
        assert (opened.format, opened.size) == ("WEBP", thumbnail)


def test_what_is_no_picture_leaves_nothing_behind(files: PictureFiles, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot identify"):
        files.write("abc", b"no picture", "image/png")
    assert not list(tmp_path.rglob("abc*"))


def test_a_full_disk_leaves_no_half_file(
    files: PictureFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write("abc", png(), "image/png")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["../secret", "a/b", "", "ä", "a.b"])
def test_an_id_is_letters_and_digits(files: PictureFiles, name: str) -> None:
    with pytest.raises(ValueError, match="not a picture's id"):
        files.original(name)


def test_old_drafts_are_removed_and_young_ones_left(files: PictureFiles, tmp_path: Path) -> None:
    files.write("abc", png(), "image/png")
    folder = tmp_path / "pictures" / "ab"
    old, young = folder / ".draft-old.png", folder / ".draft-young.png"
    for draft in (old, young):
        draft.write_bytes(b"half")
    past = time.time() - module.FORGOTTEN_AFTER_S - 1
    os.utime(old, (past, past))
    assert files.remove_drafts() == 1
    assert young.exists()
    assert not old.exists()


def test_every_format_keeps_its_name(files: PictureFiles, tmp_path: Path) -> None:
    formats: dict[str, Any] = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
    for number, (mime_type, name) in enumerate(formats.items()):
        source = tmp_path / "source"
        Image.new("RGB", (8, 8)).save(source, name)
        files.write(f"p{number}", source.read_bytes(), mime_type)
        path = files.original(f"p{number}")
        assert path is not None
        assert module.MIME_TYPES["".join(path.suffixes)] == mime_type
        files.remove(f"p{number}")
        assert files.original(f"p{number}") is None


def test_a_thumbnail_of_transparency_is_made(tmp_path: Path) -> None:
    source = tmp_path / "clear.png"
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(source)
    assert make_thumbnail(source.read_bytes())
