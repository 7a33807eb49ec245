"""Dataclasses from protobuf messages whose fields have the same names."""

from __future__ import annotations

import enum
from dataclasses import is_dataclass
from functools import cache
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from google.protobuf.message import Message

T = TypeVar("T")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def read(kind: type[T], message: Message, **own: Any) -> T:
    """A dataclass from the message, except for the fields given in `own`."""
    hints = _hints(kind)  # type: ignore[arg-type]  # as if types had no hashes
    return kind(**own, **{n: _value(hints[n], message, n) for n in hints if n not in own})


def _value(hint: Any, message: Message, name: str) -> Any:
    """`hint` is X, `X | None` or, of a repeated field, `tuple[X, ...]`."""
    field = message.DESCRIPTOR.fields_by_name[name]
    kind = get_args(hint)[0] if get_args(hint) else hint
    if field.is_repeated:
        return tuple(_one(kind, field, item) for item in getattr(message, name))
    if NoneType in get_args(hint) and not message.HasField(name):
        return None
    return _one(kind, field, getattr(message, name))


def _one(kind: type, field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        number = field.enum_type.values_by_number.get(value)
        return _member(kind, "" if number is None else number.name)
    if is_dataclass(kind):
        return read(kind, value)
    if get_origin(kind) is tuple:  # of a message's fields, in their order
        return tuple(getattr(value, part.name) for part in value.DESCRIPTOR.fields)
    return value


def _member(kind: type[enum.Enum], name: str) -> enum.Enum:
    """`ModelState.LOADED` for `MODEL_STATE_LOADED`; the first for one that is not known."""
    return next((member for member in kind if name.endswith(f"_{member.name}")), next(iter(kind)))
