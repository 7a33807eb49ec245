"""Bounds the cost of parsing a message before it is parsed.

A 4 MB protobuf can hold two million empty sub-messages, which take seconds and a gigabyte of
memory to parse, and a text of 4 MB tens of milliseconds to convert. Counting fields on the wire
allocates nothing and stops early.
"""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from backend.errors import InvalidParams, Violation

# Far above any legitimate request: all fields and LoRAs together are fewer than a hundred.
MAX_FIELDS = 1000
# Of one text, as UTF-8: eight times what the longest allowed prompt can have.
MAX_TEXT_BYTES = 64 * 1024

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class TooManyFields(Exception):
    """The message would be too expensive to parse."""


def check(data: bytes, kind: Descriptor, max_fields: int = MAX_FIELDS) -> None:
    """Check what parsing `data` would cost. Malformed data passes; the parser refuses it.

    Raises:
        TooManyFields: it has more than `max_fields` on the wire, including sub-messages'.
        InvalidParams: a text is longer than `MAX_TEXT_BYTES`.
    """
    num_fields = 0
    pending = [(0, len(data), kind)]
    while pending:
        position, end, kind = pending.pop()
        while position < end:
            num_fields += 1
            if num_fields > max_fields:
                raise TooManyFields
            try:
                tag, position = _read_varint(data, position)
                wire_type = tag & 7
                if wire_type == _VARINT:
                    _, position = _read_varint(data, position)
                elif wire_type == _BYTES:
                    size, position = _read_varint(data, position)
                    field = kind.fields_by_number.get(tag >> 3)
                    if field is not None and field.message_type is not None:
                        pending.append((position, min(position + size, end), field.message_type))
                    elif (
                        min(size, end - position) > MAX_TEXT_BYTES
                        and field is not None
                        and is_text(field)
                    ):
                        raise InvalidParams((too_long(field.name),))
                    position += size
                elif wire_type == _FIXED64:
                    position += 8
                elif wire_type == _FIXED32:
                    position += 4
            except IndexError:
                return  # truncated


def is_text(field: FieldDescriptor) -> bool:
    """Whether the field is a string; bytes are not."""
    return bool(field.type == FieldDescriptor.TYPE_STRING)


def too_long(field: str) -> Violation:
    """The violation of a text longer than `MAX_TEXT_BYTES`."""
    return Violation(field, f"At most {MAX_TEXT_BYTES:,} bytes of text.", "TOO_LONG")


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The varint at `position`, and the position after it. A varint has at most ten bytes."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return value, position
