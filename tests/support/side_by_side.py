"""Pytest processes side by side (`make test`): which tests stay together, and which run alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

if sys.platform != "win32":  # where one process runs all tests
    import fcntl

# Their tests share what takes long to start.
TOGETHER = ("tests/e2e/", "tests/interop/")


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """A file's tests go to one process, and so do some folders'."""

    def _split_scope(self, nodeid: str) -> str:
        folder = next((folder for folder in TOGETHER if nodeid.startswith(folder)), None)
        return folder or nodeid.partition("::")[0]


class Turns:
    """A lock that many share or one has; who waits to be alone is overtaken by nobody."""

    def __init__(self, folder: Path) -> None:
        self._gate = folder / "gate"
        self._machine = folder / "machine"

    @contextmanager
    def taken(self, *, alone: bool) -> Iterator[None]:
        if sys.platform == "win32":
            yield
            return
        with ExitStack() as opened:
            gate, machine = (
                opened.enter_context(path.open("wb")) for path in (self._gate, self._machine)
            )
            fcntl.flock(gate, fcntl.LOCK_EX)
            fcntl.flock(machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            fcntl.flock(gate, fcntl.LOCK_UN)
            try:
                yield
            finally:
                # Closing would not do where a child process that was forked lives on.
                fcntl.flock(machine, fcntl.LOCK_UN)
