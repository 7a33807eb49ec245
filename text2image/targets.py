"""Turns an address into gRPC's target: one service, or several behind client-side round robin."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

DEFAULT_ADDRESS = "127.0.0.1:50051"
HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s,:/\[\]]+):(?P<port>[0-9]{1,5})")
SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:")
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Target:
    """`is_several`: calls go in turn to every service that is behind it and healthy."""

    name: str
    is_several: bool

    @property
    def is_list(self) -> bool:
        """Whether it is several numeric addresses."""
        return self.is_several and self.name.startswith(("ipv4:", "ipv6:"))

    @property
    def uses_proxy(self) -> bool:
        """Whether an HTTP proxy that the environment names is used."""
        return not (self.is_list or self.name.startswith("unix:") or _is_loopback(self.name))


def target_of(address: str) -> Target:
    """The target for HOST:PORT, for several of them separated by commas, or for a gRPC target.

    gRPC looks names up again only behind dns:///; the names of a list are looked up once.

    Raises:
        ValueError: `address` is none of these, or a name of the list has no address.
    """
    if address.startswith(SCHEMES):
        return Target(address, not address.startswith("unix:") and _names_several(address))
    hosts = [_host_port(part.strip(), address) for part in address.split(",")]
    if len(hosts) == 1:
        return Target(address, False)
    return Target(_numeric(hosts), True)


def _names_several(target: str) -> bool:
    """A name may stand for several services, now or later."""
    return target.startswith("dns:") or "," in target


def _host_port(text: str, address: str) -> tuple[str, int]:
    """Refuse what gRPC would misread: without a port (it assumes 443), or a URL."""
    match = HOST_PORT.fullmatch(text)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise ValueError(
            f"An address is HOST:PORT, for example {DEFAULT_ADDRESS}, several of them with commas "
            f"in between, or dns:///HOST:PORT, not {address!r}."
        )
    return match["host"].strip("[]"), int(match["port"])


def _numeric(hosts: list[tuple[str, int]]) -> str:
    """gRPC takes a list of addresses only as numbers, and of one family."""
    for version, family in FAMILIES.items():
        found = [_resolve(host, port, family) for host, port in hosts]
        if all(found):
            addresses = ",".join(dict.fromkeys(one for some in found for one in some))
            return f"ipv{version}:{addresses}"
    names = ", ".join(host for host, _ in hosts)
    raise ValueError(f"Can't find addresses of one family (IPv4 or IPv6) for all of {names}.")


def _resolve(host: str, port: int, family: socket.AddressFamily) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    except OSError:
        return []
    hosts = (str(address[0]) for *_, address in found)
    return [f"[{one}]:{port}" if ":" in one else f"{one}:{port}" for one in hosts]


def _is_loopback(name: str) -> bool:
    match = HOST_PORT.fullmatch(name)
    if match is None:
        return False
    host = match["host"].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
