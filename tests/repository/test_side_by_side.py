"""Tests that run side by side with others, and those that have the machine for themselves."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.side_by_side import ByFile, Turns

if sys.platform != "win32":
    import fcntl

PATIENCE_S = 30.0


@pytest.mark.skipif(sys.platform == "win32", reason="one process runs all tests")
def test_who_runs_alone_waits_for_the_others_and_is_not_overtaken(tmp_path: Path) -> None:
    turns, order = Turns(tmp_path), list[str]()
    both_run, release = threading.Barrier(3), threading.Event()

    def beside() -> None:
        with turns.taken(alone=False):
            both_run.wait(PATIENCE_S)
            assert release.wait(PATIENCE_S)
            order.append("beside")

    def take(name: str, alone: bool) -> None:
        with turns.taken(alone=alone):
            order.append(name)

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(beside) for _ in range(2)]
        both_run.wait(PATIENCE_S)
        waiting = pool.submit(take, "alone", True)
        while not _is_locked(turns._gate):
            pass
        late = pool.submit(take, "late", False)
        assert order == []
        release.set()
        for each in (*running, waiting, late):
            each.result(PATIENCE_S)
    assert order == ["beside", "beside", "alone", "late"]


def _is_locked(path: Path) -> bool:
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize(
    ("node", "scope"),
    [
        ("tests/ui/test_jobs.py::test_a[x::y]", "tests/ui/test_jobs.py"),
        ("tests/ui/test_jobs.py::TestB::test_c", "tests/ui/test_jobs.py"),
        ("tests/e2e/test_mask.py::test_d", "tests/e2e/"),
        ("tests/interop/test_curl.py::test_e", "tests/interop/"),
    ],
)
def test_a_files_tests_and_those_of_some_folders_stay_together(node: str, scope: str) -> None:
    anything: Any = None
    assert ByFile._split_scope(anything, node) == scope
