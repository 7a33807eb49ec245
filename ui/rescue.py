"""Explains why a picture could not be saved, and rescues unsaved pictures at shutdown."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from ui.job import Unsaved
from ui.storage.files import SUFFIXES
from ui.storage.whole import write_whole

LOG = logging.getLogger("inkling.jobs")


def rescue(pictures: Sequence[Unsaved]) -> None:
    """At shutdown, write unsaved pictures to a temporary folder."""
    if not pictures:
        return
    try:
        folder = Path(tempfile.mkdtemp(prefix="inkling-rescued-"))
        for item in pictures:
            suffix = SUFFIXES.get(item.image.mime_type, ".png")
            write_whole(folder / f"{item.picture_id}{suffix}", item.image.data)
    except OSError:
        LOG.exception("%d finished pictures are lost: no folder takes them", len(pictures))
    else:
        LOG.error("%d pictures that could not be kept are in %s", len(pictures), folder)


def reason(error: Exception) -> str:
    """Why a picture could not be saved, as a text for its owner."""
    if isinstance(error, SQLAlchemyError):
        return "the gallery's database did not answer"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
