"""Windows neither removes nor renames a file that is open, as one is while it is sent."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ui.storage import patience
from ui.storage.files import PictureFiles


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Each file is open for the first two tries."""
    refused: Counter[str] = Counter()

    def opened(act: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(path: Path, *args: Any, **options: Any) -> Any:
            if path.exists() and refused[path.name] < 2:
                refused[path.name] += 1
                raise PermissionError(13, "The process cannot access the file", str(path))
            return act(path, *args, **options)

        return attempt

    for name in ("unlink", "rename", "replace"):
        monkeypatch.setattr(Path, name, opened(getattr(Path, name)))
    monkeypatch.setattr(patience, "TRIES", 3)
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)
    return refused


@pytest.fixture
def files(tmp_path: Path) -> PictureFiles:
    found = PictureFiles(tmp_path / "pictures")
    found.prepare()
    return found


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_a_picture_is_kept_deleted_brought_back_and_removed(
    files: PictureFiles, refusals: Counter[str]
) -> None:
    files.write("ab12", picture(), "image/png", b"{}")
    files.mark_deleted("ab12")
    assert files.original("ab12") is None
    refusals.clear()
    files.unmark_deleted("ab12")
    kept = files.original("ab12")
    assert kept is not None
    assert kept.read_bytes() == picture()
    refusals.clear()
    files.mark_deleted("ab12")
    assert files.remove_deleted("ab12")
    assert files.all_of("ab12") == []
    assert set(refusals.values()) == {2}


def test_a_file_that_stays_open_is_kept_for_the_next_time(
    files: PictureFiles, refusals: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write("ab12", picture(), "image/png", b"{}")
    files.mark_deleted("ab12")
    refusals.clear()
    monkeypatch.setattr(patience, "TRIES", 1)
    assert not files.remove_deleted("ab12")
    monkeypatch.setattr(patience, "TRIES", 3)
    assert files.remove_deleted("ab12")
