"""Who is calling: fairness, quotas and request ids go by this name."""

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

CLIENT_HEADER = "x-text2image-client"
AUTHORIZATION = "authorization"
MAX_CLIENT_CHARACTERS = 128
SEND_A_KEY = "Send a valid API key: 'authorization: Bearer KEY'."

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom an rpc is for; `key` is what it came with, `address` where from."""

    client: str
    address: str
    key: ApiKey | None = None


class Identifier:
    """Names the caller of an rpc, and refuses the unknown where keys are configured."""

    def __init__(
        self,
        keyring: Keyring | None = None,
        on_refused: Callable[[str, str], None] = lambda address, reason: None,
    ) -> None:
        """`on_refused` is told of each caller without a valid key: its address, and the reason."""
        self._keyring = keyring or Keyring()
        self._lockout = Lockout()
        self._on_refused = on_refused

    def identify(self, context: Context) -> Caller:
        """The caller's name: API key, else certificate, else address; then a delegate's caller.

        Raises:
            Unauthenticated: keys are configured and the call brings none of them.
            LockedOut: too many wrong ones came from there.
        """
        metadata = metadata_of(context)
        address = _address(metadata, peer_address(context.peer()))
        key = self.check(metadata.get(AUTHORIZATION, ""), address)
        if key is not None:
            client = _delegated(metadata, key.name) if key.delegate else key.name
            return Caller(client, address, key)
        peer = peer_address(context.peer())
        name = certificate_subject(context) or peer
        return Caller(_delegated(metadata, name) if is_local(peer) else name, address)

    def check(self, authorization: str, address: str) -> ApiKey | None:
        """The key of an Authorization header; None where nobody needs one.

        Raises:
            Unauthenticated, LockedOut: as `identify`.
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
    """Where a call came from; the HTTP front on our own socket says it of its callers."""
    return metadata.get(CLIENT_HEADER, peer)[:MAX_CLIENT_CHARACTERS] if peer == "unix" else peer


def metadata_of(context: Context) -> Mapping[str, str]:
    """The call's metadata that is text."""
    pairs = context.invocation_metadata() or ()
    return {str(key): value for key, value in pairs if isinstance(value, str)}


def _delegated(metadata: Mapping[str, str], own_name: str) -> str:
    caller = metadata.get(CLIENT_HEADER, "")[:MAX_CLIENT_CHARACTERS]
    return f"{own_name}/{caller}" if caller else own_name


def certificate_subject(context: Context) -> str | None:
    """The common name of the caller's TLS certificate, where one was asked for and given."""
    names = (context.auth_context() or {}).get("x509_common_name", ())
    return next((name.decode("utf-8", "replace") for name in names), None)


def peer_address(peer: str) -> str:
    """`ipv4:10.0.0.7:5012` or `ipv6:%5B::1%5D:5012` to the bare address; the port says nothing."""
    family, _, rest = unquote(peer).partition(":")
    if family not in ("ipv4", "ipv6"):
        return family or "unknown"  # unix sockets
    return rest.rpartition(":")[0].strip("[]")


def peer_end(peer: str) -> tuple[str, int]:
    """Address and port of the caller's end of its connection; port 0 where it has none."""
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
