"""API keys, reloaded when their file changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import structlog

from backend.errors import ConfigError
from backend.transport.access.keys import ApiKey, digest, load_api_keys, read_keys

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0


class Keyring:
    """Looks up the key that a caller presents."""

    def __init__(
        self,
        keys: tuple[ApiKey, ...] = (),
        path: Path | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._keys = {key.sha256: key for key in keys}
        self._path = path
        self._clock = clock
        self._stamp = _stamp(path)
        self._looked_s = clock()
        self.is_open = not keys  # no authentication if there are no keys at the start

    @classmethod
    def of_file(cls, path: Path | None) -> Keyring:
        """Raises ConfigError if the file is invalid."""
        return cls(load_api_keys(path), path) if path is not None else cls()

    def find(self, presented: str) -> ApiKey | None:
        """The key, or None if it is unknown."""
        if self._path is not None and self._clock() - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = self._clock()
            self._look(self._path)
        return self._keys.get(digest(presented))

    def _look(self, path: Path) -> None:
        stamp = _stamp(path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            keys = read_keys(path)  # may be empty: then nobody can call
        except ConfigError as error:
            log.error("API keys not reloaded; the old ones count", error=str(error))
            return
        self._keys = {key.sha256: key for key in keys}
        log.info("API keys reloaded", keys=len(keys))


def _stamp(path: Path | None) -> tuple[int, ...]:
    try:
        known = path.stat() if path is not None else None
    except OSError:
        return ()
    return () if known is None else (known.st_mtime_ns, known.st_size, known.st_ino)
