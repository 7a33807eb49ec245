"""The choice of a runtime, kept on disk: a restart changes no picture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from backend.disk_cache import write_whole


class Pick(NamedTuple):
    """Which runtime, and why."""

    name: str
    reason: str


class PickStore:
    """One JSON file per make: machine, versions, dtype, threads, model."""

    def __init__(self, data_dir: Path, make: Mapping[str, str]) -> None:
        digest = hashlib.sha256(json.dumps(make, sort_keys=True).encode()).hexdigest()
        self._make = dict(make)
        self._path = data_dir / "calibration" / f"runtime-{digest[:16]}.json"

    def load(self) -> Pick | None:
        """What was picked for this very make; None where nothing was, or the file is broken."""
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            if stored["make"] != self._make:
                return None
            return Pick(str(stored["name"]), str(stored["reason"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, pick: Pick) -> None:
        """Keep it.

        Raises:
            OSError: the folder can't be written.
        """
        stored = {"make": self._make, "name": pick.name, "reason": pick.reason}
        text = json.dumps(stored, indent=1)
        write_whole(self._path, lambda aside: aside.write_text(text, encoding="utf-8"))
