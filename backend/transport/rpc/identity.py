"""Who is calling: fairness, quotas and request ids go by this name."""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import grpc

from backend.errors import ConfigError, Unauthenticated

CLIENT_HEADER = "x-text2image-client"
AUTHORIZATION = "authorization"
MAX_CLIENT_CHARACTERS = 128
KEY = re.compile(r"[!-~]{16,}")

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key of the keys file; a delegate speaks for callers of its own (the studio, HTTP)."""

    name: str
    key: str
    delegate: bool = False


def load_api_keys(path: Path) -> tuple[ApiKey, ...]:
    """Read a JSON file: `[{"name": "studio", "key": "…", "delegate": true}, …]`.

    Raises:
        ConfigError: where the file is not of that form.
    """
    try:
        entries = json.loads(path.read_text("utf-8"))
        keys = tuple(ApiKey(**entry) for entry in entries)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f'{path}: not a list like [{{"name": "studio", "key": "..."}}]: {error}'
        ) from None
    if not keys:
        raise ConfigError(f"{path}: holds no keys, which would let everybody in.")
    for number, key in enumerate(keys, 1):
        _check(key, f"{path}: entry {number}")
    if len({key.key for key in keys}) < len(keys):
        raise ConfigError(f"{path}: two entries have the same key.")
    return keys


def _check(key: ApiKey, where: str) -> None:
    if not isinstance(key.name, str) or not key.name.strip():
        raise ConfigError(f"{where} needs a name.")
    if not isinstance(key.key, str) or not KEY.fullmatch(key.key):
        raise ConfigError(
            f"{where} needs a key of at least 16 printable ASCII characters without spaces."
        )
    if not isinstance(key.delegate, bool):
        raise ConfigError(f"{where}: delegate must be true or false, without quotes.")


class Identifier:
    """Names the caller of an rpc, and refuses the unknown where keys are configured."""

    def __init__(self, keys: tuple[ApiKey, ...] = ()) -> None:
        self._keys = keys

    def identify(self, context: Context) -> str:
        """The caller's name: API key, else certificate, else address; then a delegate's caller.

        Raises:
            Unauthenticated: keys are configured and the call brings none of them.
        """
        metadata = _metadata(context)
        peer = peer_address(context.peer())
        if self._keys:
            key = self._match(metadata.get(AUTHORIZATION, ""))
            return _delegated(metadata, key.name) if key.delegate else key.name
        name = certificate_subject(context) or peer
        return _delegated(metadata, name) if is_local(peer) else name

    def _match(self, authorization: str) -> ApiKey:
        scheme, _, presented = authorization.partition(" ")
        for key in self._keys:
            same = hmac.compare_digest(key.key.encode(), presented.strip().encode())
            if scheme.lower() == "bearer" and same:
                return key
        raise Unauthenticated("Send a valid API key: 'authorization: Bearer KEY'.")


def _metadata(context: Context) -> Mapping[str, str]:
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
