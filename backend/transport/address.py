"""Explains why a server can't listen on an address."""

from __future__ import annotations

import errno
import socket
import sys

NOT_RESERVED = 49151  # Windows' ranges for Hyper-V, WSL and Docker lie above


def explain(error: OSError, setting: str, port: int = 0) -> str:
    """What `error` of a socket says, as half a sentence; `setting` is where the port is set."""
    if error.errno == errno.EADDRINUSE:
        return f"another program listens there; stop it, or set {setting} to a free port"
    if error.errno == errno.EACCES and sys.platform == "win32":
        return reserved(setting, port)
    # Python adds the address to strerror; os.strerror knows neither getaddrinfo's nor Winsock's.
    return str(error.strerror).partition(" (while attempting")[0].lower()


def reserved(setting: str, port: int) -> str:
    """That Windows keeps the port to itself, and which one it does not."""
    return (
        "Windows keeps this port for itself (Hyper-V, WSL and Docker reserve ranges; "
        "netsh int ipv4 show excludedportrange protocol=tcp lists them); "
        f"set {setting} to another, such as {free_port(port)}"
    )


def free_port(port: int) -> int:
    """One that can be listened on, below the ranges that Windows reserves, and like `port`."""
    first = port % 10_000 + 10_000
    below = range(first, NOT_RESERVED, 100)
    return next((other for other in below if is_free("127.0.0.1", other)), first)


def is_free(host: str, port: int) -> bool:
    """Whether the address can be listened on."""
    try:
        _listen(host, port)
    except OSError:
        return False
    return True


def why_not(host: str, port: int, setting: str) -> str:
    """Try the address, and say what is wrong with it: grpc does not tell."""
    try:
        _listen(host.strip("[]"), port)
    except OSError as error:
        return explain(error, setting, port)
    return "the system does not say why"


def _listen(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    socket.create_server((host, port), family=family).close()
