"""The names by which a browser may reach a server here; DNS rebinding uses others."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit


def machine_names() -> tuple[str, ...]:
    """This machine's host names on its local network."""
    name = socket.gethostname().lower()
    return name, f"{name}.local"


def name_in(url: str) -> str:
    """The host name of a URL in lower case; empty if it has none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def is_listed(name: str, names: tuple[str, ...]) -> bool:
    """Whether a name is among `names`; "*.example.org" there matches subdomains, "*" everything."""
    if not name:
        return False
    return any(
        known in ("*", name) or (known.startswith("*.") and name.endswith(known[1:]))
        for known in names
    )


def is_known(host: str, names: tuple[str, ...]) -> bool:
    """Whether a Host header, with or without port, names this server.

    IP addresses are always accepted: they can't be rebound.
    """
    name = name_in(f"//{host}")
    if name == "localhost" or name.endswith(".localhost") or is_listed(name, names):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
