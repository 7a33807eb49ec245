"""What a process holds, to see what it doesn't give back."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import psutil

POOL_THREADS: Final = 4  # that pools may still add


class Held(NamedTuple):
    """Bytes of resident memory, open descriptors, threads."""

    resident_bytes: int
    descriptors: int
    threads: int


def held_by(pid: int | None = None) -> Held:
    """What the process holds; None: this one."""
    process: Any = psutil.Process(pid)
    count = getattr(process, "num_fds", None) or process.num_handles  # of Windows
    return Held(process.memory_info().rss, count(), process.num_threads())
