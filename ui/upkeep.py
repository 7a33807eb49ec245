"""Periodic background work of the studio."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ui.jobs import Jobs
from ui.storage.database_lock import DatabaseLock
from ui.storage.gallery import Gallery
from ui.storage.journal import Journal
from ui.uploads import ClosedSessions

LOG = logging.getLogger("inkling")
BEAT_S = 10.0  # much shorter than a lease
PURGE_S = 600.0


class Upkeep:
    """Extends leases, keeps the database's lock, retries failed saves, purges deleted pictures."""

    def __init__(self, jobs: Jobs, gallery: Gallery, journal: Journal, lock: DatabaseLock) -> None:
        self._beat: tuple[Callable[[], object], ...] = (
            lock.keep,
            journal.extend_leases,
            journal.interrupt_lost_jobs,
            jobs.retry_all_saves,
            ClosedSessions().forget_files,
        )
        self._seldom: tuple[Callable[[], object], ...] = (gallery.purge, journal.discard_old)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the current round."""
        self._ended.set()
        self._thread.join(BEAT_S)

    def _run(self) -> None:
        last_purge = time.monotonic()
        while not self._ended.wait(BEAT_S):
            self._do(self._beat)
            if time.monotonic() - last_purge > PURGE_S:
                self._do(self._seldom)
                last_purge = time.monotonic()

    def _do(self, works: tuple[Callable[[], object], ...]) -> None:
        for work in works:
            try:
                work()
            except Exception:  # leases must be extended whatever happens
                LOG.exception("upkeep: %s failed", work.__name__)
