"""Picture files: originals untouched, WebP thumbnails beside them, each written in one piece."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

THUMBNAIL_SIDE = 384  # px, the longer side
THUMBNAIL_QUALITY = 80
SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".orig.webp"}
MIME_TYPES = {suffix: mime_type for mime_type, suffix in SUFFIXES.items()}
THUMBNAIL_SUFFIX = ".thumb.webp"
DRAFT_PREFIX = ".draft-"
FORGOTTEN_AFTER_S = 600.0


class PictureFiles:
    """The folder of picture files, spread over 256 folders by the first digits of the id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, picture_id: str, data: bytes, mime_type: str) -> None:
        """Write the original and its thumbnail.

        Raises:
            OSError: disk full, folder not writable, or data that is no picture.
        """
        thumbnail = make_thumbnail(data)
        original = self._place(picture_id, SUFFIXES[mime_type])
        original.parent.mkdir(parents=True, exist_ok=True)
        _write_atomically(original, data)
        _write_atomically(self._place(picture_id, THUMBNAIL_SUFFIX), thumbnail)

    def original(self, picture_id: str) -> Path | None:
        """The original file, or None where there is none."""
        candidates = (self._place(picture_id, suffix) for suffix in MIME_TYPES)
        return next((path for path in candidates if path.is_file()), None)

    def thumbnail(self, picture_id: str) -> Path | None:
        """The thumbnail file, or None where there is none."""
        path = self._place(picture_id, THUMBNAIL_SUFFIX)
        return path if path.is_file() else None

    def remove(self, picture_id: str) -> None:
        """Remove whatever there is of this picture."""
        for suffix in (*MIME_TYPES, THUMBNAIL_SUFFIX):
            self._place(picture_id, suffix).unlink(missing_ok=True)

    def remove_drafts(self) -> int:
        """Remove what a crash in mid-write left behind; returns how many files."""
        drafts = [p for p in self._folder.glob(f"*/{DRAFT_PREFIX}*") if _is_forgotten(p)]
        for draft in drafts:
            draft.unlink(missing_ok=True)
        return len(drafts)

    def ids(self) -> Iterator[str]:
        """The ids of all originals that are older than some minutes."""
        for path in self._folder.glob("??/*"):
            if not path.name.endswith(THUMBNAIL_SUFFIX) and _is_forgotten(path):
                yield path.name.partition(".")[0]

    def _place(self, picture_id: str, suffix: str) -> Path:
        if not is_picture_id(picture_id):
            raise ValueError("not a picture's id")
        return self._folder / picture_id[:2] / f"{picture_id}{suffix}"


def is_picture_id(text: str) -> bool:
    """Whether it can name a picture, and so a file within our folder."""
    return text.isascii() and text.isalnum()


def make_thumbnail(data: bytes) -> bytes:
    """A WebP of at most 384 pixels, smoothly enlarged where the original is smaller.

    Raises:
        OSError: the data is no picture.
    """
    with Image.open(io.BytesIO(data)) as picture:
        scale = THUMBNAIL_SIDE / max(picture.size)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        small = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=THUMBNAIL_QUALITY)
    return file.getvalue()


def _write_atomically(path: Path, data: bytes) -> None:
    """All of the file or nothing: written aside, flushed to the disk, then renamed."""
    draft = path.with_name(f"{DRAFT_PREFIX}{path.name}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _is_forgotten(path: Path) -> bool:
    """Old enough that no living process can still be busy with it."""
    try:
        return time.time() - path.stat().st_mtime > FORGOTTEN_AFTER_S
    except FileNotFoundError:
        return False
