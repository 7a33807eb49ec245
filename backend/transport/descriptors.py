"""Limits connections by the number of file descriptors of the process."""

from __future__ import annotations

import contextlib
import sys

if sys.platform != "win32":
    import resource

WINDOWS_SELECT = 512  # sockets that Python's select() takes there, which our event loop calls
# For the model's files, threads' pipes, the log and our own sockets.
RESERVED = 128
FEWEST = 16


def raise_limit() -> None:
    """Raise the soft limit of file descriptors (often 1024) to the hard limit."""
    if sys.platform != "win32":
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):  # macOS refuses "unlimited"
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_per_server(wanted: int, num_servers: int = 2) -> int:
    """`wanted`, or fewer where the limit on file descriptors leaves less to each server."""
    soft = _soft_limit()
    return wanted if soft is None else max(FEWEST, min(wanted, (soft - RESERVED) // num_servers))


def _soft_limit() -> int | None:
    """File descriptors that the process may have open; None where there is no limit."""
    if sys.platform == "win32":
        return WINDOWS_SELECT
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
