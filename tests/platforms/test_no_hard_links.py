"""Disks without hard links (exFAT, FAT, shared folders), in the words of Linux and of Windows."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from text2image.cli.files import write_file
from ui.identity import load_signer

WORDS = [errno.ENOTSUP, errno.EINVAL, errno.EPERM]


@pytest.fixture(params=WORDS, ids=[errno.errorcode[number] for number in WORDS], autouse=True)
def no_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(os, "link", refuse)


def test_pictures_are_written_and_none_is_replaced(tmp_path: Path) -> None:
    picture = tmp_path / "x.png"
    write_file(picture, b"first", overwrite=False)
    with pytest.raises(FileExistsError):
        write_file(picture, b"second", overwrite=False)
    assert picture.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["x.png"]


def test_a_name_is_free_again_where_the_picture_could_not_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_file(tmp_path / "x.png", b"data", overwrite=False)
    assert os.listdir(tmp_path) == []


def test_the_studio_keeps_its_secret(tmp_path: Path) -> None:
    browser = load_signer(tmp_path).new_cookie()
    assert load_signer(tmp_path).browser_of(browser)
    assert os.listdir(tmp_path) == ["secret"]
