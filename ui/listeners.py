"""Lets go of the port that Streamlit has bound, for a process that binds it where it is told to."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
from contextlib import suppress

from streamlit import config


def listen_on(host: str) -> None:
    """Restart with this address unless it has it: Streamlit binds its own before it loads us."""
    if host == config.get_option("server.address"):
        return
    os.environ["STREAMLIT_SERVER_ADDRESS"] = host
    command = [sys.executable, *sys.orig_argv[1:]]
    if os.name == "nt":  # execv there starts another process, and ends this one
        close_listeners(config.get_option("server.port"))
        sys.exit(subprocess.call(command))
    _keep_out_of_the_next()
    os.execv(sys.executable, command)


def _keep_out_of_the_next() -> None:
    """Streamlit's listener among our sockets would accept connections there without answering."""
    if os.path.isdir("/dev/fd"):
        for name in os.listdir("/dev/fd"):
            with suppress(OSError):  # the folder's own is gone
                os.set_inheritable(int(name), int(name) <= 2)


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
