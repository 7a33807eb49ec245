"""Messages from objects whose attributes have the names of the message's fields.

Descriptors are `Any`: protobuf has two classes for each of them.
"""

from __future__ import annotations

import enum
from typing import Any, TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


def message(kind: type[M], source: object, **own: Any) -> M:
    """A message with the attributes of `source`, except for the fields given in `own`."""
    return kind(**own, **_same(kind.DESCRIPTOR, source, own))


def _same(descriptor: Any, source: object, own: dict[str, Any]) -> dict[str, Any]:
    fields = [field for field in descriptor.fields if field.name not in own]
    return {field.name: _value(field, getattr(source, field.name)) for field in fields}


def _value(field: Any, value: Any) -> Any:
    """As protobuf's constructors take it: nested messages are dicts, enums their names."""
    if field.enum_type is not None:
        return _name(field.enum_type, value)
    if field.message_type is None or value is None:
        return value
    if field.is_repeated:
        return [_same(field.message_type, one, {}) for one in value]
    return _same(field.message_type, value, {})


def _name(kind: Any, member: enum.Enum) -> str:
    """`MODEL_STATE_LOADED` for `ModelState.LOADED`."""
    names: list[str] = list(kind.values_by_name)
    return next(name for name in names if name.endswith(f"_{member.name}"))
