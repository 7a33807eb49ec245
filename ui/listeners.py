"""Lets go of the port that Streamlit has bound, for a child process that binds it anew."""

from __future__ import annotations

import gc
import socket


def close_listeners(port: int) -> int:
    """Close all our TCP sockets on this port; returns how many.

    Streamlit keeps the socket where we can't ask for it, so we search all objects.
    """
    sockets = [found for found in gc.get_objects() if issubclass(type(found), socket.socket)]
    bound = [found for found in sockets if _port(found) == port]
    for found in bound:
        found.close()
    return len(bound)


def _port(found: socket.socket) -> int | None:
    try:
        name = found.getsockname()
    except OSError:  # it is closed
        return None
    return name[1] if isinstance(name, tuple) else None
