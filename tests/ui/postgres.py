"""A PostgreSQL server of our own for one test run: Debian's binaries, a fresh folder and port."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.ports import free_port

BINARIES = Path("/usr/lib/postgresql")
START_S = 30.0


@contextmanager
def postgres() -> Iterator[str]:
    """Serve until the block ends; yields the URL of an empty database."""
    folder = Path(tempfile.mkdtemp(prefix="inkling-pg-"))
    user = _unprivileged(folder)
    binaries = _binaries()
    data, port = folder / "data", free_port()
    initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "inkling", "-A", "trust", "-N"]
    subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **user)
    command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder)]
    command += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **user)
    try:
        _wait_for(binaries, port, server)
        yield f"postgresql://inkling@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(START_S)
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    versions = sorted(BINARIES.glob("*/bin"), key=lambda path: int(path.parent.name))
    if not versions:
        raise RuntimeError("PostgreSQL is missing: apt-get install postgresql")
    return versions[-1]


def _unprivileged(folder: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root: become Debian's user for it."""
    if os.geteuid() != 0:
        return {}
    shutil.chown(folder, "postgres", "postgres")
    return {"user": "postgres", "group": "postgres"}


def _wait_for(binaries: Path, port: int, server: subprocess.Popen[bytes]) -> None:
    command = [str(binaries / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-q"]
    end = time.monotonic() + START_S
    while subprocess.run(command, check=False).returncode:
        if server.poll() is not None or time.monotonic() > end:
            raise RuntimeError("PostgreSQL did not start")
        time.sleep(0.05)
