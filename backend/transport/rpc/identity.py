"""Identifies the caller; fairness, quotas and request ids are per client name."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc

from backend.errors import LockedOut, Unauthenticated
from backend.transport.access.keyring import Keyring
from backend.transport.access.keys import ApiKey
from backend.transport.access.limits import Lockout
from backend.transport.rpc import secret_door

CLIENT_HEADER = "x-text2image-client"
AUTHORIZATION = "authorization"
MAX_CLIENT_CHARACTERS = 128
SEND_A_KEY = "Send a valid API key: 'authorization: Bearer KEY'."

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of an rpc: client name, address, and API key if any."""

    client: str
    address: str
    key: ApiKey | None = None


class Identifier:
    """Identifies callers; if keys are configured, refuses those without a valid one."""

    def __init__(
        self,
        keyring: Keyring | None = None,
        on_refused: Callable[[str, str], None] = lambda address, reason: None,
    ) -> None:
        """`on_refused` is called with address and reason for each caller without a valid key."""
        self.front_secret = ""  # what the HTTP front shows where it has no Unix socket to come by
        self._keyring = keyring or Keyring()
        self._lockout = Lockout()
        self._on_refused = on_refused

    def identify(self, context: Context) -> Caller:
        """Name the caller by API key, else certificate, else address.

        Delegates and local callers (without keys) may append their own caller's name.

        Raises:
            Unauthenticated: keys are configured and the call has no valid one.
            LockedOut: too many wrong keys came from the address.
        """
        metadata = metadata_of(context)
        peer = _one_loopback(peer_address(context.peer()))
        if secret_door.is_secret(metadata.get(secret_door.HEADER), self.front_secret):
            peer = "unix"
        address = _address(metadata, peer)
        key = self.check(metadata.get(AUTHORIZATION, ""), address)
        if key is not None:
            client = _delegated(metadata, key.name) if key.delegate else key.name
            return Caller(client, address, key)
        name = certificate_subject(context) or peer
        return Caller(_delegated(metadata, name) if is_local(peer) else name, address)

    def check(self, authorization: str, address: str) -> ApiKey | None:
        """The key in an Authorization header; None if no keys are configured.

        Raises:
            Unauthenticated, LockedOut: like `identify`.
        """
        if self._keyring.is_open:
            return None
        scheme, _, presented = authorization.partition(" ")
        presented = presented.strip()
        key = self._keyring.find(presented) if scheme.lower() == "bearer" else None
        try:
            if key is not None:
                self._lockout.succeeded(address, key.sha256)
                return key
            if presented:
                self._lockout.failed(address)
        except LockedOut:
            self._on_refused(address, "locked out")
            raise
        self._on_refused(address, "unknown key" if presented else "no key")
        raise Unauthenticated(SEND_A_KEY)


def _address(metadata: Mapping[str, str], peer: str) -> str:
    """The caller's address; our HTTP server, on the Unix socket, passes on that of its caller."""
    return metadata.get(CLIENT_HEADER, peer)[:MAX_CLIENT_CHARACTERS] if peer == "unix" else peer


def _one_loopback(address: str) -> str:
    """A client that calls us "localhost" comes by either family, and is the same one."""
    return "127.0.0.1" if address == "::1" else address


def metadata_of(context: Context) -> Mapping[str, str]:
    """The call's text metadata, without binary entries."""
    pairs = context.invocation_metadata() or ()
    return {str(key): value for key, value in pairs if isinstance(value, str)}


def _delegated(metadata: Mapping[str, str], own_name: str) -> str:
    caller = _one_loopback(metadata.get(CLIENT_HEADER, ""))[:MAX_CLIENT_CHARACTERS]
    return f"{own_name}/{caller}" if caller else own_name


def certificate_subject(context: Context) -> str | None:
    """The common name of the caller's TLS certificate, if there is one."""
    names = (context.auth_context() or {}).get("x509_common_name", ())
    return next((name.decode("utf-8", "replace") for name in names), None)


def peer_address(peer: str) -> str:
    """The address in `ipv4:10.0.0.7:5012` or `ipv6:%5B::1%5D:5012`; "unix" for Unix sockets."""
    family, _, rest = unquote(peer).partition(":")
    if family not in ("ipv4", "ipv6"):
        return family or "unknown"  # for Unix sockets "unix"
    return rest.rpartition(":")[0].strip("[]")


def peer_end(peer: str) -> tuple[str, int]:
    """Address and port of the client's end of the connection; port 0 for Unix sockets."""
    port = unquote(peer).rpartition(":")[2]
    return peer_address(peer), int(port) if port.isdecimal() else 0


def is_local(address: str) -> bool:
    """Whether an address from `peer_address` is on this machine."""
    if address == "unix":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
