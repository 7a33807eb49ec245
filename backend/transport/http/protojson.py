"""Parses ProtoJSON: https://protobuf.dev/programming-guides/json/.

Validity is decided by `json_format`, with three additions: quoted numbers must follow JSON's
grammar (it accepts all of Python's digits), all bad fields are reported together, and files in
base64 are decoded in pieces, so that other threads run in between.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from backend.transport.http.problem import bad_fields, malformed
from backend.transport.wire import MAX_TEXT_BYTES, is_text, too_long

M = TypeVar("M", bound=Message)
Violation = tuple[str, str, str]

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|NaN|-?Infinity")
PIECE_CHARACTERS = 64 * 1024
WHITE_SPACE = b" \t\r\n"
_STANDARD = bytes.maketrans(b"-_", b"+/")  # the other alphabet is for addresses
_EXPECTED = {
    FieldDescriptor.CPPTYPE_INT32: "Must be a whole number that fits into 32 bits.",
    FieldDescriptor.CPPTYPE_INT64: "Must be a whole number that fits into 64 bits.",
    FieldDescriptor.CPPTYPE_FLOAT: "Must be a number that fits into 32 bits.",
    FieldDescriptor.CPPTYPE_DOUBLE: "Must be a number.",
    FieldDescriptor.CPPTYPE_BOOL: "Must be true or false.",
    FieldDescriptor.CPPTYPE_STRING: "Must be a string of whole Unicode characters.",
    FieldDescriptor.CPPTYPE_MESSAGE: "Must be an object.",
}
_NUMERIC = (
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_FLOAT,
    FieldDescriptor.CPPTYPE_DOUBLE,
)


def load(text: bytes | str) -> dict[str, Any]:
    """Parse one JSON object by RFC 8259: no NaN, no duplicate names.

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
    """Like `parse`, for the result of `load`."""
    message = message_class()
    rest, files, found = _take_files(message.DESCRIPTOR, value)
    found += _violations(message.DESCRIPTOR, rest, "")
    if found:
        raise bad_fields(found)
    try:
        json_format.ParseDict(rest, message)
    except json_format.ParseError:  # each field is valid, so one is given twice
        raise malformed("A field is given by both of its names.") from None
    for name, content in files.items():
        setattr(message, name, content)
    return message


def _take_files(
    message: Any, value: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, bytes], list[Violation]]:
    """The fields that are no files, the files by field name, and what is wrong with these."""
    kinds = {
        name: field.name
        for field in message.fields
        if field.type == FieldDescriptor.TYPE_BYTES
        for name in (field.name, field.json_name)
    }
    rest, files, found = {}, {}, []
    for name, item in value.items():
        field = kinds.get(name)
        if field is None or not isinstance(item, str):
            rest[name] = item
            continue
        if field in files:
            raise malformed("A field is given by both of its names.")
        try:
            files[field] = from_base64(item)
        except ValueError:
            found.append((field, "Must be base64.", "WRONG_TYPE"))
    return rest, files, found


def from_base64(text: str) -> bytes:
    """Decode in pieces, each a call of its own: the lock of Python's threads is free in between.

    Takes both alphabets, with or without padding, and ignores white space.

    Raises:
        ValueError: it is not base64.
    """
    content, rest = bytearray(), b""
    for start in range(0, len(text), PIECE_CHARACTERS):
        piece = text[start : start + PIECE_CHARACTERS].encode("ascii")
        piece = rest + piece.translate(_STANDARD, WHITE_SPACE)
        whole = len(piece) - len(piece) % 4
        content += binascii.a2b_base64(piece[:whole], strict_mode=True)
        rest = piece[whole:]
    content += binascii.a2b_base64(rest + b"=" * (-len(rest) % 4), strict_mode=True)
    return bytes(content)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _violations(message: Any, value: dict[str, Any], path: str) -> Iterator[Violation]:
    fields = {name: field for field in message.fields for name in (field.name, field.json_name)}
    for name, item in value.items():
        field = fields.get(name)
        if field is None:
            known = ", ".join(known.name for known in message.fields) or "none"
            yield path + name[:64], f"No such field. Known: {known}.", "UNKNOWN_FIELD"
        elif field.is_repeated and isinstance(item, list):
            for index, part in enumerate(item):
                yield from _check(field, part, [part], f"{path}{field.name}[{index}]")
        elif field.is_repeated and item is not None:
            yield path + field.name, "Must be a list.", "WRONG_TYPE"
        else:
            yield from _check(field, item, item, path + field.name)


def _check(field: FieldDescriptor, item: Any, value: Any, path: str) -> Iterator[Violation]:
    """Violations of one `item`; `value` is the field's value: the item, or a list of only it."""
    if field.message_type is not None and isinstance(item, dict):
        yield from _violations(field.message_type, item, f"{path}.")
    elif isinstance(item, str) and len(item) > MAX_TEXT_BYTES and is_text(field):
        found = too_long(path)
        yield found.field, found.description, found.reason
    elif not _is_as_written(field, item) or not _parses(field, value):
        yield path, _expected(field), "UNKNOWN" if field.enum_type is not None else "WRONG_TYPE"


def _is_as_written(field: FieldDescriptor, item: Any) -> bool:
    """False for what json_format would convert: `true` to 1, "٥" to 5; enums 1.5 and "1" to 1."""
    if field.enum_type is not None:
        if isinstance(item, str):
            return item in field.enum_type.values_by_name
        return not isinstance(item, bool) and (not isinstance(item, float) or item.is_integer())
    if field.cpp_type not in _NUMERIC or not isinstance(item, bool | str):
        return True
    return isinstance(item, str) and _NUMBER.fullmatch(item) is not None


def _parses(field: FieldDescriptor, value: Any) -> bool:
    owner: Any = field.containing_type
    message = GetMessageClass(owner)()
    try:
        json_format.ParseDict({field.name: value}, message)
    except (json_format.ParseError, ValueError, OverflowError):
        return False
    return True


def _expected(field: FieldDescriptor) -> str:
    if field.enum_type is not None:
        return f"Must be one of {', '.join(value.name for value in field.enum_type.values)}."
    return _EXPECTED[field.cpp_type]
