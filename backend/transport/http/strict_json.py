"""JSON to protobuf, refusing what json_format would let pass.

`json_format` takes NaN, 512.0 for an integer and `true` for a number, and its messages quote the
parser. Here every bad field is told at once, as `BadRequest` details.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from backend.transport.http.problem import bad_fields, malformed

M = TypeVar("M", bound=Message)
Violation = tuple[str, str, str]

_MAX_FLOAT32 = (2 - 2**-23) * 2.0**127
_INTEGER_BITS = {
    FieldDescriptor.CPPTYPE_INT32: 31,
    FieldDescriptor.CPPTYPE_INT64: 63,
}
_INTEGER = re.compile(r"-?\d{1,19}")


def load(text: bytes | str) -> dict[str, Any]:
    """Parse one JSON object, as RFC 8259 has it: no NaN, no name twice.

    Raises:
        Problem: INVALID_ARGUMENT.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        value = json.loads(text, parse_constant=_refuse, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        raise malformed("The body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise malformed("The body must be a JSON object.")
    return value


def parse(text: bytes | str, message_class: type[M]) -> M:
    """Parse JSON text into a message.

    Raises:
        Problem: INVALID_ARGUMENT, with one field violation per bad field.
    """
    return from_dict(load(text), message_class)


def from_dict(value: dict[str, Any], message_class: type[M]) -> M:
    """Like `parse`, from what `load` returned."""
    found = list(_check_object(message_class().DESCRIPTOR, value, ""))
    if found:
        raise bad_fields(found)
    try:
        return json_format.ParseDict(value, message_class())
    except json_format.ParseError:
        raise malformed("malformed request message") from None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _check_object(message: Any, value: dict[str, Any], path: str) -> Iterator[Violation]:
    fields = {name: f for f in message.fields for name in (f.name, f.json_name)}
    for name, item in value.items():
        field = fields.get(name)
        if field is None:
            yield path + name[:64], f"No such field. Known: {_known(message)}.", "UNKNOWN_FIELD"
        elif item is not None:
            yield from _check_field(field, item, path + field.name)


def _known(message: Any) -> str:
    return ", ".join(field.name for field in message.fields) or "none"


def _check_field(field: FieldDescriptor, value: Any, path: str) -> Iterator[Violation]:
    if not field.is_repeated:
        yield from _check_value(field, value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _check_value(field, item, f"{path}[{index}]")
    else:
        yield path, "Must be a list.", "WRONG_TYPE"


def _check_value(field: FieldDescriptor, value: Any, path: str) -> Iterator[Violation]:
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        if isinstance(value, dict):
            yield from _check_object(field.message_type, value, path + ".")
        else:
            yield path, "Must be an object.", "WRONG_TYPE"
    elif field.cpp_type in _INTEGER_BITS:
        yield from _check_integer(value, _INTEGER_BITS[field.cpp_type], path)
    elif field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        yield from _check_float(value, path)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        yield from _check_enum(field, value, path)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if not isinstance(value, bool):
            yield path, "Must be true or false.", "WRONG_TYPE"
    elif not isinstance(value, str):
        yield path, "Must be a string.", "WRONG_TYPE"
    elif any("\ud800" <= character <= "\udfff" for character in value):
        yield path, "Holds half a surrogate pair.", "NOT_UNICODE"


def _check_integer(value: Any, bits: int, path: str) -> Iterator[Violation]:
    # ProtoJSON writes 64-bit integers as strings, for JavaScript's sake.
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        yield path, "Must be a whole number, without a decimal point.", "WRONG_TYPE"
    elif not -(2**bits) <= value < 2**bits:
        yield path, f"Must fit into {bits + 1} bits.", "OUT_OF_RANGE"


def _check_float(value: Any, path: str) -> Iterator[Violation]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield path, "Must be a number.", "WRONG_TYPE"
    elif abs(value) > _MAX_FLOAT32 or not math.isfinite(value):
        yield path, "Must be a finite number that fits into 32 bits.", "OUT_OF_RANGE"


def _check_enum(field: Any, value: Any, path: str) -> Iterator[Violation]:
    values = field.enum_type.values
    known = {v.name for v in values} if isinstance(value, str) else {v.number for v in values}
    if isinstance(value, bool | float) or not isinstance(value, str | int) or value not in known:
        names = ", ".join(v.name for v in values)
        yield path, f"Must be one of {names}.", "UNKNOWN"
