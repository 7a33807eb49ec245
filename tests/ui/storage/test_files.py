import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.ui.conftest import png
from tests.ui.storage.test_decoding import large_png
from ui.storage import files as module
from ui.storage.decoding import mime_type_of
from ui.storage.files import PictureFiles
from ui.storage.picture import Unkeepable


def test_the_original_is_kept_byte_for_byte(files: PictureFiles) -> None:
    files.write("abc", png(), "image/png", b"{}")
    path = files.original("abc")
    assert path is not None
    assert path.read_bytes() == png()


@pytest.mark.parametrize(
    ("size", "thumbnail"), [((64, 64), (384, 384)), ((1024, 512), (384, 192)), ((1, 500), (1, 384))]
)
def test_thumbnails_fit_a_square(
    files: PictureFiles, size: tuple[int, int], thumbnail: tuple[int, int]
) -> None:
    files.write("abc", png(size=size), "image/png", b"{}")
    path = files.thumbnail("abc")
    assert path is not None
    with Image.open(path) as opened:
        assert (opened.format, opened.size) == ("WEBP", thumbnail)


def test_what_is_no_picture_leaves_nothing_behind(files: PictureFiles, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no PNG, JPEG or WebP"):
        files.write("abc", b"no picture", "image/png", b"{}")
    assert not list(tmp_path.rglob("abc*"))


def test_a_full_disk_leaves_no_half_file(
    files: PictureFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write("abc", png(), "image/png", b"{}")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["../secret", "a/b", "", "ä", "a.b"])
def test_an_id_is_letters_and_digits(files: PictureFiles, name: str) -> None:
    with pytest.raises(ValueError, match="not a picture's id"):
        files.original(name)


def test_old_drafts_are_removed_and_young_ones_left(files: PictureFiles, tmp_path: Path) -> None:
    files.write("abc", png(), "image/png", b"{}")
    folder = tmp_path / "pictures" / "ab"
    old, young = folder / ".draft-old.png", folder / ".draft-young.png"
    for draft in (old, young):
        draft.write_bytes(b"half")
    past = time.time() - module.FORGOTTEN_AFTER_S - 1
    os.utime(old, (past, past))
    assert files.remove_leftovers() == 1
    assert young.exists()
    assert not old.exists()


def test_every_format_keeps_its_name(files: PictureFiles, tmp_path: Path) -> None:
    formats: dict[str, Any] = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
    for number, (mime_type, name) in enumerate(formats.items()):
        source = tmp_path / "source"
        Image.new("RGB", (8, 8)).save(source, name)
        files.write(f"p{number}", source.read_bytes(), mime_type, b"{}")
        path = files.original(f"p{number}")
        assert path is not None
        assert module.MIME_TYPES["".join(path.suffixes)] == mime_type
        assert mime_type_of(source.read_bytes()) == mime_type


def test_deleting_is_a_mark_that_can_be_taken_back(files: PictureFiles) -> None:
    files.write("abc", png(), "image/png", b"{}")
    files.mark_deleted("abc")
    assert files.original("abc") is None
    files.unmark_deleted("abc")
    path = files.original("abc")
    assert path is not None
    assert path.read_bytes() == png()


def test_without_the_mark_nothing_is_removed(files: PictureFiles) -> None:
    files.write("abc", png(), "image/png", b"{}")
    assert not files.remove_deleted("abc")
    assert len(files.all_of("abc")) == 3
    files.mark_deleted("abc")
    assert files.remove_deleted("abc")
    assert files.all_of("abc") == []


def test_thumbnails_and_notes_of_no_picture_are_leftovers(
    files: PictureFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FORGOTTEN_AFTER_S", -1.0)
    files.write("abc", png(), "image/png", b"{}")
    files.write("abd", png(), "image/png", b"{}")
    files.mark_deleted("abd")
    assert files.remove_leftovers() == 0
    path = files.original("abc")
    assert path is not None
    path.unlink()
    stranger = path.with_name("notes.txt")
    stranger.write_text("somebody's own file", encoding="utf-8")
    assert files.remove_leftovers() == 2
    assert files.all_of("abc") == []
    assert stranger.exists()


def test_a_folder_that_vanished_is_not_made_again(files: PictureFiles) -> None:
    files.folder.rmdir()
    with pytest.raises(FileNotFoundError, match="folder is gone"):
        files.write("abc", png(), "image/png", b"{}")
    assert not files.folder.exists()


def test_too_large_a_picture_is_refused_before_it_is_decoded(files: PictureFiles) -> None:
    with pytest.raises(Unkeepable, match="40 million"):
        files.write("abc", large_png(13_000), "image/png", b"{}")
    with pytest.raises(Unkeepable, match="40 million"):
        files.write("abc", large_png(9000), "image/png", b"{}")
    assert files.all_of("abc") == []
