"""Folders of files that people put there, by name; looked at again when they change."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from backend.errors import ModelFailed

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_EVERY_S = 1.0
MAX_FILES = 1000
NAME = re.compile(r"[^\s<>:\"/\\|?*(),][^<>:\"/\\|?*(),\n]{0,99}")  # what may stand in a prompt


class Stamp(NamedTuple):
    """Tells one state of a file from another."""

    mtime_ns: int
    num_bytes: int


class Entry(NamedTuple, Generic[T]):
    """A file that can be used."""

    path: Path
    stamp: Stamp
    value: T


@dataclass(frozen=True)
class Listing(Generic[T]):
    """What a folder holds: what can be used, and why the rest can't, by name."""

    entries: Mapping[str, Entry[T]] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)


class Folder(Generic[T]):
    """The `.safetensors` files right in a folder. For any thread.

    Names are looked up, never made into paths: none leads out of the folder.
    """

    def __init__(self, path: Path | None, read: Callable[[Path], T]) -> None:
        """`read` looks at one file, or raises ModelFailed with a sentence that says what it is."""
        self._path = path
        self._read = read
        self._lock = threading.Lock()
        self._looked_s = -LOOK_EVERY_S
        self._stamps: Mapping[str, tuple[Path, Stamp]] = {}
        self._listing: Listing[T] = Listing()
        self.version = 0  # changes with the listing

    @property
    def listing(self) -> Listing[T]:
        """As of now, or of a second ago."""
        if self._path is None:
            return self._listing
        with self._lock:
            if time.perf_counter() - self._looked_s >= LOOK_EVERY_S:
                self._look()
                self._looked_s = time.perf_counter()
            return self._listing

    def _look(self) -> None:
        stamps = self._scan()
        if stamps == self._stamps:
            return
        entries, refusals = {}, {}
        for name, (path, stamp) in stamps.items():
            known = self._listing.entries.get(name)
            if known is not None and known.stamp == stamp:
                entries[name] = known
                continue
            try:
                entries[name] = Entry(path, stamp, self._read(path))
            except (ModelFailed, OSError) as error:
                text = error.strerror if isinstance(error, OSError) else str(error)
                refusals[name] = f"{name}: {text}"
                logger.warning("%s can't be used: %s", path.name, text)
        self._stamps, self._listing = stamps, Listing(entries, refusals)
        self.version += 1

    def _scan(self) -> Mapping[str, tuple[Path, Stamp]]:
        assert self._path is not None
        found = {}
        try:
            for path in sorted(self._path.glob("*.safetensors"))[:MAX_FILES]:
                if NAME.fullmatch(path.stem) and path.is_file():
                    stat = path.stat()
                    found[path.stem] = (path, Stamp(stat.st_mtime_ns, stat.st_size))
        except OSError as error:
            logger.warning("%s can't be read: %s", self._path, error.strerror)
        return found
