import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from sqlalchemy.exc import OperationalError

from ui import upkeep
from ui.jobs import Jobs
from ui.storage.database_lock import DatabaseLock
from ui.storage.gallery import Gallery
from ui.storage.journal import Journal


class Counting:
    """Stands for gallery, journal and jobs at once: counts what is called, and fails at will."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failing = ""

    def __getattr__(self, name: str) -> Callable[[], None]:
        def work() -> None:
            self.calls.append(name)
            if name == self.failing:
                raise OperationalError("update", {}, Exception("database is locked"))

        work.__name__ = name
        return work


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    monkeypatch.setattr(upkeep, "BEAT_S", 0.01)
    return Counting()


def started(work: Counting) -> upkeep.Upkeep:
    anything = cast(Any, work)
    jobs, gallery, journal = cast(Jobs, anything), cast(Gallery, anything), cast(Journal, anything)
    return upkeep.Upkeep(jobs, gallery, journal, cast(DatabaseLock, anything))


def run_until(running: upkeep.Upkeep, happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)
    running.close()


def test_leases_are_extended_though_something_else_fails(counting: Counting) -> None:
    counting.failing = "interrupt_lost_jobs"
    running = started(counting)
    run_until(running, lambda: counting.calls.count("retry_all_saves") > 2)
    assert counting.calls.count("extend_leases") > 2
    assert "purge" not in counting.calls


def test_purging_happens_seldom(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "PURGE_S", 0.0)
    run_until(started(counting), lambda: "discard_old" in counting.calls)
    assert "purge" in counting.calls


def test_closing_ends_the_thread(counting: Counting) -> None:
    running = started(counting)
    run_until(running, lambda: bool(counting.calls))
    seen = len(counting.calls)
    time.sleep(0.1)
    assert len(counting.calls) == seen
