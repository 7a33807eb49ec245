"""Ports for servers that are told theirs before they start."""

from __future__ import annotations

import random
import socket

# Below those that systems hand out for port 0: another test can't be given it meanwhile.
RANGE = range(20_000, 32_768)


def free_port() -> int:
    """A port that nobody listens on, and that nobody else is likely to choose."""
    for port in random.SystemRandom().sample(RANGE, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("No port is free.")
