"""Values kept as JSON from one start to the next."""

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
    """One value in one file, valid for one `make`: everything that the value depends on.

    Caching never stands in the way: what can't be read counts as not kept, and what can't be
    written is logged.
    """

    def __init__(self, folder: Path, kind: str, make: Mapping[str, str], of: type[T]) -> None:
        """Keep a value of type `of` in `folder`/`kind`, one file per `make`.

        Args:
            folder: for all caches of the service.
            kind: what the value is, in one word.
            make: names and versions; a value kept for others is ignored.
            of: a dataclass, or another type that pydantic validates.
        """
        digest = hashlib.sha256(json.dumps(make, sort_keys=True).encode()).hexdigest()
        self.path = folder / kind / f"{digest[:16]}.json"
        self._make = dict(make)

        class Value(RootModel[of]):  # type: ignore[valid-type]
            model_config = ConfigDict(ser_json_inf_nan="constants")  # else -inf comes back as None

        self._value = Value

    def load(self) -> T | None:
        """The value kept for this make, or None."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            if kept["make"] != self._make:
                return None
            value: T = self._value.model_validate(kept["value"]).root
            return value
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, value: T) -> None:
        """Keep `value` instead of what was kept before; a crash leaves one of both, whole."""
        # A name of its own: another process may be saving the same.
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
    """Those of processes that were killed in mid-write."""
    for draft in folder.glob(f"*{DRAFT_SUFFIX}"):
        with suppress(OSError):  # another process may be doing the same
            if time.time() - draft.stat().st_mtime > OLD_DRAFT_S:
                draft.unlink()
