"""Caches values between starts, as JSON files."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ConfigDict, RootModel

logger = logging.getLogger(__name__)

T = TypeVar("T")

DRAFT_SUFFIX = ".new"
OLD_DRAFT_S = 3600.0


class DiskCache(Generic[T]):
    """One cached value in one file. `make` is everything the value depends on.

    Never raises: an unreadable file is a cache miss, a failed write is logged.
    """

    def __init__(self, folder: Path, kind: str, make: Mapping[str, str], of: type[T]) -> None:
        """Use the file `folder`/`kind`/<hash of `make`>.json.

        Args:
            folder: root of all the service's caches.
            kind: what the value is, in one word; the sub-folder's name.
            make: names and versions; a value saved for a different make is a cache miss.
            of: the value's type, a dataclass or another type that pydantic validates.
        """
        digest = hashlib.sha256(json.dumps(make, sort_keys=True).encode()).hexdigest()
        self.path = folder / kind / f"{digest[:16]}.json"
        self._make = dict(make)

        class Value(RootModel[of]):  # type: ignore[valid-type]
            model_config = ConfigDict(ser_json_inf_nan="constants")  # else -inf becomes None

        self._value = Value

    def load(self) -> T | None:
        """The value saved for this make, or None."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            if kept["make"] != self._make:
                return None
            value: T = self._value.model_validate(kept["value"]).root
            return value
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, value: T) -> None:
        """Replace the saved value atomically."""
        # A unique name, since another process may save the same value.
        draft = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex[:8]}{DRAFT_SUFFIX}")
        try:
            kept = {"make": self._make, "value": self._value(value).model_dump(mode="json")}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _remove_old_drafts(self.path.parent)
            with draft.open("x", encoding="utf-8") as file:
                file.write(json.dumps(kept))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        except (OSError, ValueError, TypeError) as error:
            logger.warning("%s can't be kept for the next start: %s", self.path.name, error)
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def _remove_old_drafts(folder: Path) -> None:
    """Delete drafts of processes that were killed while writing."""
    for draft in folder.glob(f"*{DRAFT_SUFFIX}"):
        with suppress(OSError):  # another process may delete it too
            if time.time() - draft.stat().st_mtime > OLD_DRAFT_S:
                draft.unlink()
