"""Why an address can't be listened on, in the system's own words."""

from __future__ import annotations

import errno
import os
import socket


def explain(error: OSError, setting: str) -> str:
    """What `error` of a socket says, as half a sentence; `setting` is where the port is set."""
    number = error.errno or 0
    if number == errno.EADDRINUSE:
        return f"another program listens there; stop it, or set {setting} to a free port"
    # create_server adds the address to strerror, and getaddrinfo's numbers are its own
    return (os.strerror(number) if number > 0 else str(error.strerror)).lower()


def why_not(host: str, port: int, setting: str) -> str:
    """Try the address, and say what is wrong with it: grpc does not tell."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host.strip("[]"), port), family=family).close()
    except OSError as error:
        return explain(error, setting)
    return "the system does not say why"
