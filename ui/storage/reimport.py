"""Restores missing rows of pictures, from their notes or the metadata in their files."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa
from PIL import Image
from sqlalchemy import Engine

from ui.metadata.reader import read_file
from ui.metadata.unreadable import UnreadableRecipe
from ui.recipe import Recipe
from ui.storage import patience
from ui.storage.files import NOTE_SUFFIX, Original, PictureFiles, as_original
from ui.storage.picture import Picture, Unkeepable, check
from ui.storage.quarantine import Quarantine
from ui.storage.recovery import adopt
from ui.storage.schema import PICTURES
from ui.storage.tables import StorageError

LOG = logging.getLogger("inkling.storage")


def reimport(engine: Engine, data_dir: Path, owner: str | None) -> Counter[str]:
    """Restore a row for every picture without one, including those in quarantine.

    Returns:
        Numbers of pictures restored from notes, from metadata, and without settings, and of
        unreadable ones.

    Raises:
        StorageError: there are pictures without a note, and no owner is given.
    """
    files = PictureFiles(data_dir / "pictures")
    files.prepare()
    known = _known(engine)
    _check_owner(engine, data_dir, files, known, owner)
    _release(files, Quarantine(data_dir), known)
    lost = [o for o in files.originals() if not o.is_deleted and o.id not in known]
    noted = {original for original in lost if _note_of(original) is not None}
    done = Counter[str]({"from notes": len(noted)})
    for original in lost:
        if original not in noted and owner is not None:
            done[_note_by_metadata(files, original, owner)] += 1
    adopt(engine, files, lost)
    for original in files.originals():
        _renew_thumbnail(files, original)
    return +done


def _known(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(sa.select(PICTURES.c.id)).scalars())


def _check_owner(
    engine: Engine, data_dir: Path, files: PictureFiles, known: set[str], owner: str | None
) -> None:
    """Before anything is moved."""
    quarantined = _originals(Quarantine(data_dir).files())
    lost = [o for o in (*files.originals(), *quarantined) if not o.is_deleted]
    without = [o for o in lost if o.id not in known and _note_of(o) is None]
    if not without or owner:
        return
    with engine.connect() as connection:
        owners = connection.execute(sa.select(PICTURES.c.owner).distinct().limit(5)).scalars()
        known_owners = ", ".join(owners) or "none yet"
    raise StorageError(
        f"{len(without)} pictures have no note of whose they are: name an owner with --owner "
        f"(in the database: {known_owners})"
    )


def _note_of(original: Original) -> Picture | None:
    """The note beside a file, wherever that is."""
    name = original.path.name.partition(".")[0] + NOTE_SUFFIX
    try:
        picture = Picture.from_note(original.path.with_name(name).read_bytes())
    except (OSError, ValueError):
        return None
    return picture if picture.id == original.id else None


def _originals(paths: Iterable[Path]) -> list[Original]:
    return [original for path in paths if (original := as_original(path)) is not None]


def _release(files: PictureFiles, quarantine: Quarantine, known: set[str]) -> None:
    """Move pictures back from quarantine, unless a file with that name exists."""
    for original in _originals(quarantine.files()):
        if original.is_deleted or original.id in known or files.all_of(original.id):
            continue
        home = files.folder / original.id[:2]
        home.mkdir(exist_ok=True)
        companions = set(original.path.parent.glob(f"{original.id}.*")) - {original.path}
        for path in (*companions, original.path):  # the original last, as when writing
            patience.rename(path, home / path.name)
        picture = files.note(original.id)
        if picture is not None:
            _undelete_note(files, original.id, picture)


def _undelete_note(files: PictureFiles, picture_id: str, note: bytes) -> None:
    """Clear the deletion in the note, since restored pictures should be visible."""
    try:
        picture = Picture.from_note(note)
    except ValueError:
        return
    files.write_note(picture_id, replace(picture, deleted_at=None).note())


def _note_by_metadata(files: PictureFiles, original: Original, owner: str) -> str:
    try:
        picture, kind = _from_metadata(original, owner)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        LOG.error("%s is left where it is: %s", original.path, error)
        return "unreadable"
    files.write_note(picture.id, picture.note())
    return kind


def _from_metadata(original: Original, owner: str) -> tuple[Picture, str]:
    """Build the picture's row from the file's metadata and the given owner.

    Raises:
        OSError: it is not a picture that the gallery accepts.
    """
    data = original.path.read_bytes()
    with Image.open(original.path, formats=("PNG", "JPEG", "WEBP")) as opened:
        width, height = opened.size
    kind = "from metadata"
    try:
        recipe, _unknown = read_file(data)
        check(recipe)
    except (UnreadableRecipe, Unkeepable):
        recipe, kind = Recipe(), "without settings"
    values = recipe.to_dict() | {"width": width, "height": height, "seed": recipe.seed or 0}
    del values["count"]
    picture = Picture(
        **values,
        id=original.id,
        owner=owner,
        created_at=round(original.path.stat().st_mtime * 1000),
        job_id=None,
        batch_id=None,
        duration_ms=0,
        mime_type=original.mime_type,
        num_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        favourite=False,
        deleted_at=None,
    )
    return picture, kind


def _renew_thumbnail(files: PictureFiles, original: Original) -> None:
    if original.is_deleted or files.thumbnail(original.id) is not None:
        return
    try:
        files.renew_thumbnail(original)
    except OSError as error:
        LOG.error("%s gets no thumbnail: %s", original.path, error)
