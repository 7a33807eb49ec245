"""Memory of the control group that we run in, on Linux: a container, or a service with a limit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/sys/fs/cgroup")
MINE = Path("/proc/self/cgroup")


class Memory(NamedTuple):
    """Bytes. `used` leaves out the files that the kernel keeps in memory and would drop."""

    total: int
    used: int


class _Version(NamedTuple):
    """The files' names in one version of control groups."""

    limit: str
    usage: str
    droppable: str  # in memory.stat


V2 = _Version("memory.max", "memory.current", "inactive_file")
V1 = _Version("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def memory(root: Path = ROOT, mine: Path = MINE) -> Memory | None:
    """The tightest limit of our group and those around it, and their use; None without a limit."""
    found = [memory for memory in _all(root, mine) if memory is not None]
    return min(found, default=None)


def _all(root: Path, mine: Path) -> Iterator[Memory | None]:
    for version, top, path in _groups(root, mine):
        # A container without a namespace of its own is told a path that it can't see.
        for folder in (top / path, *(top / path).parents):
            if folder.is_relative_to(top):
                yield _read(folder, version)


def _groups(root: Path, mine: Path) -> Iterator[tuple[_Version, Path, str]]:
    """The version, where its groups are mounted, and our group's path below that."""
    with suppress(OSError):
        for line in mine.read_text("utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield V2, root, path.lstrip("/")
            elif "memory" in controllers.split(","):
                yield V1, root / "memory", path.lstrip("/")


def _read(folder: Path, version: _Version) -> Memory | None:
    try:
        total = int((folder / version.limit).read_text("ascii"))
        used = int((folder / version.usage).read_text("ascii"))
    except (OSError, ValueError):  # missing, or "max": no limit
        return None
    with suppress(OSError, ValueError, KeyError):
        lines = (folder / "memory.stat").read_text("ascii").splitlines()
        used -= int(dict(line.split() for line in lines)[version.droppable])
    return Memory(total, max(0, used))
