"""Makes files and rows consistent after the last shutdown or crash.

No original is removed only because the database says so. A file without a row gets its row back
from its note; without a note it goes to quarantine. If that would affect most files, nothing is
touched: then the database is wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Engine

from ui.storage.files import Original, PictureFiles, is_forgotten
from ui.storage.gallery import UNDO_MS, now_ms
from ui.storage.parts import parts
from ui.storage.picture import Picture
from ui.storage.quarantine import Quarantine
from ui.storage.schema import PICTURES

LOG = logging.getLogger("inkling.storage")

MOST = 0.5  # of the originals: more are never moved to quarantine at once
UNDO_S = UNDO_MS / 1000


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found and done, in numbers of pictures."""

    originals: int = 0
    adopted: int = 0  # rows restored from notes
    quarantined: int = 0
    left: int = 0  # could not be assigned, but were too many for quarantine
    brought_back: int = 0  # only their file name marked them as deleted
    missing: int = 0  # rows without an original
    leftovers: int = 0  # files without a picture

    def sentences(self) -> list[str]:
        """Messages for the operator, the most urgent first."""
        told = {
            f"pictures that fit no row of this database, left alone (docs/reliability.md): "
            f"{self.left:,} of {self.originals:,}": self.left,
            f"pictures that have lost their file: {self.missing:,}": self.missing,
            f"pictures moved to quarantine: {self.quarantined:,}": self.quarantined,
            f"rows made again from pictures' notes: {self.adopted:,}": self.adopted,
            f"half-deleted pictures brought back: {self.brought_back:,}": self.brought_back,
            f"unfinished files removed: {self.leftovers:,}": self.leftovers,
        }
        return [sentence for sentence, count in told.items() if count]


def recover(engine: Engine, files: PictureFiles, quarantine: Quarantine) -> Recovery:
    """Make files and rows consistent; files that can't be assigned go to quarantine.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database can't be read or written.
    """
    rows = _rows(engine)
    originals = list(files.originals())
    orphans = [o for o in originals if _is_orphan(o, rows)]
    adopted = adopt(engine, files, orphans)
    homeless = [original for original in orphans if original.id not in adopted]
    denied = _denied(engine, originals)
    strays = len(homeless) + len(denied)
    too_many = strays > MOST * len(originals)
    if not too_many:
        _set_aside(files, quarantine, homeless, "no row in the database, and no note beside it")
        _set_aside_denied(engine, files, quarantine, denied)
    _note(engine, files, rows.keys() & {original.id for original in originals})
    found = {original.id for original in originals}
    return Recovery(
        originals=len(originals),
        adopted=len(adopted),
        quarantined=0 if too_many else strays,
        left=strays if too_many else 0,
        brought_back=_end_deletions(files, rows, originals),
        missing=sum(not deleted and i not in found for i, deleted in rows.items()),
        leftovers=files.remove_leftovers(known=rows),
    )


def adopt(engine: Engine, files: PictureFiles, originals: Iterable[Original]) -> set[str]:
    """Restore the rows of originals from their notes; returns their ids.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database can't be written.
    """
    pictures = [p for o in originals if (p := _picture_of(files, o)) is not None]
    for part in parts(pictures):
        with engine.begin() as connection:
            connection.execute(PICTURES.insert(), [picture.row() for picture in part])
    return {picture.id for picture in pictures}


def _is_orphan(original: Original, rows: Mapping[str, bool]) -> bool:
    return not original.is_deleted and original.id not in rows and is_forgotten(original.path)


def _denied(engine: Engine, originals: Iterable[Original]) -> dict[str, Picture]:
    """Pictures that their rows have long marked as deleted, but their files have not."""
    live = {original.id for original in originals if not original.is_deleted}
    deleted = PICTURES.c.deleted_at <= now_ms() - UNDO_MS
    with engine.connect() as connection:
        rows = connection.execute(sa.select(PICTURES).where(deleted)).mappings().all()
    return {row["id"]: Picture.from_row(row) for row in rows if row["id"] in live}


def _picture_of(files: PictureFiles, original: Original) -> Picture | None:
    note = files.note(original.id)
    if note is None:
        return None
    try:
        picture = Picture.from_note(note)
    except ValueError as error:
        LOG.warning("the note of %s can't be read: %s", original.path, error)
        return None
    return picture if picture.id == original.id else None


def _rows(engine: Engine) -> dict[str, bool]:
    """The ids of all rows, and whether they are deleted."""
    query = sa.select(PICTURES.c.id, PICTURES.c.deleted_at.is_not(None))
    with engine.connect() as connection:
        return {picture_id: bool(deleted) for picture_id, deleted in connection.execute(query)}


def _set_aside_denied(
    engine: Engine, files: PictureFiles, quarantine: Quarantine, pictures: Mapping[str, Picture]
) -> None:
    """Move these files to quarantine, with their rows as notes."""
    for picture in pictures.values():
        files.write_note(picture.id, picture.note())
    paths = (path for picture_id in pictures for path in files.all_of(picture_id))
    quarantine.take(paths, "deleted by its row in the database, but not by its file")
    with engine.begin() as connection:
        for picture_id in pictures:
            if files.original(picture_id) is None:
                connection.execute(PICTURES.delete().where(PICTURES.c.id == picture_id))


def _end_deletions(
    files: PictureFiles, rows: Mapping[str, bool], originals: Iterable[Original]
) -> int:
    """Complete or undo interrupted deletions; returns the number of restored pictures."""
    half_deleted = [o for o in originals if o.is_deleted and rows.get(o.id) is False]
    for original in half_deleted:
        files.unmark_deleted(original.id)
    for original in originals:
        if original.is_deleted and original.id not in rows and is_forgotten(original.path, UNDO_S):
            files.remove_deleted(original.id)
    return len(half_deleted)


def _note(engine: Engine, files: PictureFiles, picture_ids: Iterable[str]) -> None:
    """Write missing notes, for pictures of versions that had none."""
    for part in parts(sorted(set(picture_ids) - files.noted())):
        with engine.connect() as connection:
            rows = connection.execute(sa.select(PICTURES).where(PICTURES.c.id.in_(part)))
            pictures = [Picture.from_row(row) for row in rows.mappings()]
        for picture in pictures:
            files.write_note(picture.id, picture.note(), durable=False)


def _set_aside(
    files: PictureFiles, quarantine: Quarantine, originals: Iterable[Original], reason: str
) -> None:
    quarantine.take((path for o in originals for path in files.all_of(o.id)), reason)
