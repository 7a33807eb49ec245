"""The API key of a request, in the form that the gRPC server expects."""

from __future__ import annotations

import base64
import binascii

from starlette.datastructures import Headers
from starlette.types import Scope


def authorization_of(scope: Scope) -> str:
    """The Authorization header; a Basic password is converted to a Bearer key.

    A1111's clients only support user name and password. The user name is ignored.
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
