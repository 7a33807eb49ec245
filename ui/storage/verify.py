"""Compares files with rows in both directions, including contents. Changes nothing."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Engine

from ui.storage.files import Original, PictureFiles
from ui.storage.picture import Picture
from ui.storage.quarantine import Quarantine
from ui.storage.schema import PICTURES


def verify(engine: Engine, data_dir: Path) -> tuple[int, list[str]]:
    """Check every picture.

    Returns:
        The number of rows compared, and a line for each problem.
    """
    files = PictureFiles(data_dir / "pictures")
    rows = _rows(engine)
    originals: defaultdict[str, list[Original]] = defaultdict(list)
    for original in files.originals():
        originals[original.id].append(original)
    problems = [
        f"{picture_id}: {problem}"
        for picture_id in sorted(rows.keys() | originals.keys())
        for problem in _problems(files, rows.get(picture_id), originals[picture_id])
    ]
    problems += [f"{path}: in quarantine" for path in Quarantine(data_dir).files()]
    return len(rows), problems


def _rows(engine: Engine) -> dict[str, Picture]:
    with engine.connect() as connection:
        rows = connection.execute(sa.select(PICTURES)).mappings()
        return {row["id"]: Picture.from_row(row) for row in rows}


def _problems(
    files: PictureFiles, picture: Picture | None, originals: list[Original]
) -> Iterator[str]:
    if picture is None:
        if not all(original.is_deleted for original in originals):
            yield "has a file and no row"
        return
    if not originals:
        if picture.deleted_at is None:
            yield "has a row and no file"
        return
    if len(originals) > 1:
        yield "has several files"
    original = originals[0]
    if original.is_deleted != (picture.deleted_at is not None):
        yield "is deleted by its file or its row alone"
    yield from _content_problems(original, picture)
    if files.thumbnail(picture.id) is None:
        yield "has no thumbnail"
    if not _has_note(files, picture):
        yield "has no note, or another picture's"


def _content_problems(original: Original, picture: Picture) -> Iterator[str]:
    try:
        data = original.path.read_bytes()
    except OSError as error:
        yield f"can't be read: {error.strerror}"
        return
    if len(data) != picture.num_bytes or hashlib.sha256(data).hexdigest() != picture.sha256:
        yield "its file is not what was kept"


def _has_note(files: PictureFiles, picture: Picture) -> bool:
    try:
        noted = Picture.from_note(files.note(picture.id) or b"")
    except ValueError:
        return False
    return (noted.id, noted.owner, noted.sha256) == (picture.id, picture.owner, picture.sha256)
