"""Limits connections by the number of file descriptors of the process."""

from __future__ import annotations

import contextlib
import sys

if sys.platform != "win32":  # sockets on Windows don't have this limit
    import resource

# For model files, pipes, logs and our own sockets.
RESERVED = 128
FEWEST = 16


def raise_limit() -> None:
    """Raise the soft limit of file descriptors (often 1024) to the hard limit."""
    if sys.platform != "win32":
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):  # macOS refuses "unlimited"
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_per_server(wanted: int, num_servers: int = 2) -> int:
    """`wanted`, or fewer if the limit of file descriptors requires it."""
    if sys.platform != "win32":
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:
            return max(FEWEST, min(wanted, (soft - RESERVED) // num_servers))
    return wanted
