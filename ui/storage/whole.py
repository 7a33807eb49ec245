"""Writing a file in one piece: all of it, on the disk, or nothing."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path

DRAFT_PREFIX = ".draft-"


def write_whole(path: Path, data: bytes, *, mode: int = 0o666, durable: bool = True) -> None:
    """Write aside, flush to the disk, then rename; `mode` is narrowed by the umask.

    What can be made again needs not be `durable`: then a power cut may cost it.

    Raises:
        OSError: disk full, or the folder is missing or not writable.
    """
    draft = write_draft(path, data, mode=mode, durable=durable)
    try:
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def write_draft(path: Path, data: bytes, *, mode: int = 0o666, durable: bool = True) -> Path:
    """A whole file beside `path` under a name of its own, whoever else is writing there.

    Raises:
        OSError: as `write_whole`; nothing is left behind.
    """
    draft = path.with_name(f"{DRAFT_PREFIX}{uuid.uuid4().hex[:12]}-{path.name}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return draft


def sync_folder(folder: Path) -> None:
    """Make a rename within `folder` survive a power cut, where the system can."""
    if os.name == "nt":
        return
    with suppress(OSError):  # some network file systems refuse to sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
