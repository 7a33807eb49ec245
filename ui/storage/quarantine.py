"""Quarantine: files that can't be assigned are moved here with a reason, never deleted."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from ui.storage import patience
from ui.storage.whole import write_whole

LOG = logging.getLogger("inkling.storage")
REASON_FILE = "why.json"


class Quarantine:
    """`DATA_DIR/quarantine`, with one dated folder per move."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.folder = data_dir / "quarantine"

    def take(self, paths: Iterable[Path], reason: str) -> int:
        """Move files of the data folder here, keeping their names; returns the number of files.

        Files that can't be moved stay where they are, and are logged.
        """
        paths = sorted(paths)
        if not paths:
            return 0
        try:
            folder = self._new_folder()
            self._write_reason(folder, paths, reason)
        except OSError as error:
            LOG.error("%d files stay where they are, quarantine fails: %s", len(paths), error)
            return 0
        moved = sum(self._move(path, folder) for path in paths)
        LOG.warning("%d files moved to %s: %s", moved, folder, reason)
        return moved

    def files(self) -> list[Path]:
        """All files in quarantine, without the reasons."""
        found = self.folder.rglob("*") if self.folder.is_dir() else ()
        return sorted(path for path in found if path.is_file() and path.name != REASON_FILE)

    def _new_folder(self) -> Path:
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%fZ")
        folder = self.folder / stamp
        folder.mkdir(parents=True)
        return folder

    def _write_reason(self, folder: Path, paths: list[Path], reason: str) -> None:
        """Write the reason before moving files, so that none lacks one after a crash."""
        names = [path.relative_to(self._data_dir).as_posix() for path in paths]
        why = {"reason": reason, "moved_at": datetime.now(UTC).isoformat(), "files": names}
        text = json.dumps(why, indent=1, ensure_ascii=False)
        write_whole(folder / REASON_FILE, text.encode())

    def _move(self, path: Path, folder: Path) -> bool:
        target = folder / path.relative_to(self._data_dir)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            patience.rename(path, target)
        except OSError as error:
            LOG.error("%s stays where it is, quarantine fails: %s", path, error)
            return False
        return True
