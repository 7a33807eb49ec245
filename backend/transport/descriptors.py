"""How many connections the process may hold: each takes a file descriptor."""

from __future__ import annotations

import contextlib
import sys

if sys.platform != "win32":  # whose sockets know no such limit
    import resource

# For the model's files, threads' pipes, the log and our own sockets.
RESERVED = 128
FEWEST = 16


def raise_limit() -> None:
    """Raise the soft limit on file descriptors to the hard one: shells set it to 1024."""
    if sys.platform != "win32":
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):  # macOS refuses "unlimited"
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_per_server(wanted: int, num_servers: int = 2) -> int:
    """`wanted`, or fewer where the limit on file descriptors leaves less to each server."""
    if sys.platform != "win32":
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:
            return max(FEWEST, min(wanted, (soft - RESERVED) // num_servers))
    return wanted
