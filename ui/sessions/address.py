"""Finds the address at which phones on the same network can reach this studio."""

from __future__ import annotations

import ipaddress
import socket

import psutil

INNER = ("docker", "br-", "veth", "virbr", "cni", "flannel", "tun", "utun", "wg", "zt", "tailscale")


def lan_addresses() -> list[str]:
    """This machine's IPv4 addresses, the most likely reachable one first."""
    outward = _outward()
    stats = psutil.net_if_stats()
    found: list[tuple[bool, bool, bool, str]] = []
    for name, addresses in psutil.net_if_addrs().items():
        if name in stats and not stats[name].isup:
            continue
        for entry in addresses:
            if entry.family is not socket.AF_INET or _is_of_no_use(entry.address):
                continue
            is_inner = name.startswith(INNER)
            is_private = ipaddress.ip_address(entry.address).is_private
            found.append((is_inner, entry.address != outward, not is_private, entry.address))
    return [address for *_, address in sorted(found)]


def _is_of_no_use(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified


def _outward() -> str:
    """The address of the default route's interface; sends nothing. Empty without such a route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def is_loopback(host: str) -> bool:
    """Whether a server listening there is reachable from this machine only."""
    if host in ("localhost", ""):
        return host == "localhost"
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
