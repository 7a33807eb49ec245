"""The key that a request brings, in the one form that the gRPC port reads."""

from __future__ import annotations

import base64
import binascii

from starlette.datastructures import Headers
from starlette.types import Scope


def authorization_of(scope: Scope) -> str:
    """The Authorization header; a Basic password is the key that Bearer would name.

    A1111's clients know a user name and a password alone. Whatever the name, or without one.
    """
    value = Headers(scope=scope).get("authorization", "")
    scheme, _, encoded = value.partition(" ")
    if scheme.lower() != "basic":
        return value
    try:
        text = base64.b64decode(encoded, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return value
    password = text.partition(":")[2] if ":" in text else text
    return f"Bearer {password}" if password else ""
