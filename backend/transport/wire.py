"""What a message costs to parse, found out before it is parsed.

A protobuf of 4 MB may hold two million empty sub-messages: seconds of work and a gigabyte of
memory, whatever the answer. Counting its fields stops early and allocates nothing.
"""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor

# Far above any honest request, whose every field and LoRA take fewer than a hundred.
MAX_FIELDS = 1000

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def is_bounded(data: bytes, kind: Descriptor, max_fields: int = MAX_FIELDS) -> bool:
    """Whether `data` has at most `max_fields` fields on the wire, sub-messages' included.

    Bytes that are no message of that kind pass: the parser refuses them.
    """
    num_fields = 0
    pending = [(0, len(data), kind)]
    while pending:
        position, end, kind = pending.pop()
        while position < end:
            num_fields += 1
            if num_fields > max_fields:
                return False
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
                    position += size
                elif wire_type == _FIXED64:
                    position += 8
                elif wire_type == _FIXED32:
                    position += 4
            except IndexError:
                return True  # cut short
    return True


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at `position`, and where it ends. Over ten bytes are no varint."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return value, position
