"""Picture files: unchanged originals, each with a WebP thumbnail and a note (a copy of its row).

The files are authoritative, the database is an index: a lost row can be restored from the note, and
a deleted picture is marked by its file name.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from ui.storage import patience
from ui.storage.decoding import make_thumbnail
from ui.storage.whole import DRAFT_PREFIX, write_whole

LOG = logging.getLogger("inkling.storage")

SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".orig.webp"}
MIME_TYPES = {suffix: mime_type for mime_type, suffix in SUFFIXES.items()}
THUMBNAIL_SUFFIX = ".thumb.webp"
NOTE_SUFFIX = ".json"
DELETED_SUFFIX = ".deleted"  # appended to the name of an original that its owner deleted
FORGOTTEN_AFTER_S = 600.0


@dataclass(frozen=True, slots=True)
class Original:
    """An original picture file."""

    id: str
    path: Path
    mime_type: str
    is_deleted: bool


class PictureFiles:
    """The folder of picture files, with 256 sub-folders by the first two digits of the id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Create the folder. Called at the start only: if it vanishes later, writing must fail.

        Raises:
            OSError: it can't be created.
        """
        self.folder.mkdir(parents=True, exist_ok=True)

    def write(self, picture_id: str, data: bytes, mime_type: str, note: bytes) -> None:
        """Write the original, its note and its thumbnail.

        Raises:
            Unkeepable: the data is not a picture, or too large.
            OSError: disk full, or folder missing or not writable.
        """
        thumbnail = make_thumbnail(data)
        original = self._place(picture_id, SUFFIXES[mime_type])
        self._make_folder(original.parent)
        # The original last: if it exists, the other files exist too.
        try:
            write_whole(self._place(picture_id, NOTE_SUFFIX), note)
            write_whole(self._place(picture_id, THUMBNAIL_SUFFIX), thumbnail)
            write_whole(original, data)
        except OSError:
            if self.original(picture_id) is None:
                self._remove_companions(picture_id)
            raise

    def original(self, picture_id: str) -> Path | None:
        candidates = (self._place(picture_id, suffix) for suffix in MIME_TYPES)
        return next((path for path in candidates if path.is_file()), None)

    def thumbnail(self, picture_id: str) -> Path | None:
        path = self._place(picture_id, THUMBNAIL_SUFFIX)
        return path if path.is_file() else None

    def note(self, picture_id: str) -> bytes | None:
        """The picture's note, or None."""
        try:
            return self._place(picture_id, NOTE_SUFFIX).read_bytes()
        except OSError:
            return None

    def write_note(self, picture_id: str, note: bytes, *, durable: bool = True) -> None:
        """Replace the note beside an original; if that fails, the old one is kept."""
        try:
            write_whole(self._place(picture_id, NOTE_SUFFIX), note, durable=durable)
        except OSError as error:
            LOG.error("the note of picture %s could not be written: %s", picture_id, error)

    def renew_thumbnail(self, original: Original) -> None:
        """Create a missing thumbnail.

        Raises:
            OSError: the original is not a picture, or the folder is not writable.
        """
        thumbnail = make_thumbnail(original.path.read_bytes())
        write_whole(self._place(original.id, THUMBNAIL_SUFFIX), thumbnail)

    def mark_deleted(self, picture_id: str) -> None:
        """Mark the file as deleted by renaming it, which needs no disk space."""
        path = self.original(picture_id)
        if path is None:
            return
        try:
            marked = patience.rename(path, path.with_name(path.name + DELETED_SUFFIX))
            os.utime(marked)
        except OSError as error:
            LOG.error("%s could not be marked as deleted: %s", path, error)

    def unmark_deleted(self, picture_id: str) -> None:
        """Rename a deleted original back."""
        for suffix in MIME_TYPES:
            path = self._place(picture_id, suffix)
            try:
                patience.rename(path.with_name(path.name + DELETED_SUFFIX), path)
            except FileNotFoundError:
                continue
            except OSError as error:
                LOG.error("%s could not be brought back: %s", path, error)

    def remove_deleted(self, picture_id: str) -> bool:
        """Remove a picture marked as deleted; returns whether it is gone.

        An original without the mark is kept, with its thumbnail and note.
        """
        if self.original(picture_id) is not None:
            return False
        try:
            for suffix in MIME_TYPES:
                path = self._place(picture_id, suffix)
                patience.unlink(path.with_name(path.name + DELETED_SUFFIX))
            self._remove_companions(picture_id)
        except OSError as error:
            LOG.error("the files of picture %s could not be removed: %s", picture_id, error)
            return False
        return True

    def all_of(self, picture_id: str) -> list[Path]:
        suffixes = (*MIME_TYPES, *(s + DELETED_SUFFIX for s in MIME_TYPES))
        suffixes = (*suffixes, THUMBNAIL_SUFFIX, NOTE_SUFFIX)
        paths = (self._place(picture_id, suffix) for suffix in suffixes)
        return [path for path in paths if path.is_file()]

    def originals(self) -> list[Original]:
        """All originals in the folder; files with other names are ignored."""
        paths = (path for of_one in self._listing().values() for path in of_one)
        return [original for path in paths if (original := as_original(path)) is not None]

    def noted(self) -> set[str]:
        notes = ((i, self._place(i, NOTE_SUFFIX)) for i in self._listing())
        return {picture_id for picture_id, note in notes if _has_content(note)}

    def remove_leftovers(self, known: Container[str] = ()) -> int:
        """Remove leftovers of a crash: drafts, and thumbnails and notes without a picture.

        Those of `known` pictures are kept: if an original was lost, they are all that is left.

        Returns:
            The number of removed files.
        """
        found = list(self.folder.glob(f"??/{DRAFT_PREFIX}*"))
        for picture_id, paths in self._listing().items():
            if picture_id not in known and not any(as_original(path) for path in paths):
                companions = (THUMBNAIL_SUFFIX, NOTE_SUFFIX)
                found += [p for p in paths if p.name in {picture_id + s for s in companions}]
        leftovers = [path for path in found if is_forgotten(path)]
        for path in leftovers:
            patience.unlink(path)
        return len(leftovers)

    def _listing(self) -> dict[str, list[Path]]:
        """All files that can be ours, by picture id."""
        found: defaultdict[str, list[Path]] = defaultdict(list)
        for folder in filter(Path.is_dir, self.folder.glob("??")):
            for name in os.listdir(folder):
                picture_id = name.partition(".")[0]
                if is_picture_id(picture_id):
                    found[picture_id].append(folder / name)
        return found

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(exist_ok=True)
        except FileNotFoundError:
            told = "the gallery's folder is gone"
            raise FileNotFoundError(errno.ENOENT, told, str(self.folder)) from None

    def _remove_companions(self, picture_id: str) -> None:
        for suffix in (THUMBNAIL_SUFFIX, NOTE_SUFFIX):
            patience.unlink(self._place(picture_id, suffix))

    def _place(self, picture_id: str, suffix: str) -> Path:
        if not is_picture_id(picture_id):
            raise ValueError("not a picture's id")
        return self.folder / picture_id[:2] / f"{picture_id}{suffix}"


def is_picture_id(text: str) -> bool:
    """Whether the text is a valid picture id, and so safe as a file name."""
    return text.isascii() and text.isalnum()


def is_forgotten(path: Path, after_s: float | None = None) -> bool:
    """Whether the file is so old that no running process can be working on it."""
    try:
        age_s = time.time() - path.stat().st_mtime
        return age_s > (FORGOTTEN_AFTER_S if after_s is None else after_s)
    except FileNotFoundError:
        return False


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def as_original(path: Path) -> Original | None:
    """Parse an original's file name; None for other files."""
    name = path.name.removesuffix(DELETED_SUFFIX)
    picture_id, _, suffix = name.partition(".")
    mime_type = MIME_TYPES.get(f".{suffix}")
    if mime_type is None or not is_picture_id(picture_id):
        return None
    return Original(picture_id, path, mime_type, name != path.name)
