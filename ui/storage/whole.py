"""Writes files atomically and durably."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path

from ui.storage import patience

DRAFT_PREFIX = ".draft-"


def write_whole(path: Path, data: bytes, *, mode: int = 0o666, durable: bool = True) -> None:
    """Write to a draft, flush it to the disk, then rename; `mode` is limited by the umask.

    Without `durable` the file may be lost in a power failure.

    Raises:
        OSError: disk full, or the folder is missing or not writable.
    """
    draft = write_draft(path, data, mode=mode, durable=durable)
    try:
        patience.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def write_draft(path: Path, data: bytes, *, mode: int = 0o666, durable: bool = True) -> Path:
    """Write a complete draft beside `path` under a unique name.

    Raises:
        OSError: like `write_whole`; no file is left behind.
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
    """Make renames in `folder` survive a power failure, if the system supports it."""
    if os.name == "nt":
        return
    with suppress(OSError):  # some network file systems refuse to sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
