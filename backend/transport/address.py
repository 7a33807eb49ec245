"""Explains why a server can't listen on an address."""

from __future__ import annotations

import errno
import os
import socket


def explain(error: OSError, setting: str) -> str:
    """The reason of a socket error as a phrase; `setting` names the variable of the port."""
    number = error.errno or 0
    if number == errno.EADDRINUSE:
        return f"another program listens there; stop it, or set {setting} to a free port"
    # Not error.strerror: create_server adds the address to it. getaddrinfo's codes are negative.
    return (os.strerror(number) if number > 0 else str(error.strerror)).lower()


def why_not(host: str, port: int, setting: str) -> str:
    """Try to bind the address and explain the failure, since grpc doesn't."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host.strip("[]"), port), family=family).close()
    except OSError as error:
        return explain(error, setting)
    return "the system does not say why"
