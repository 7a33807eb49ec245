"""Messages that are too expensive to parse are detected before parsing."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from backend.errors import InvalidParams
from backend.transport.wire import MAX_FIELDS, MAX_TEXT_BYTES, TooManyFields, check
from proto import text2image_pb2 as pb

KIND: Any = pb.GenerateImageRequest.DESCRIPTOR
LORAS = KIND.fields_by_name["loras"].number
EMPTY_LORA = bytes([LORAS << 3 | 2, 0])


def inside_a_lora(content: bytes) -> bytes:
    return pb.GenerateImageRequest(loras=[pb.Lora()]).SerializeToString()[:1] + varint(content)


def varint(content: bytes) -> bytes:
    size, out = len(content), bytearray()
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes([*out, size]) + content


def is_bounded(data: bytes, kind: Any, max_fields: int = MAX_FIELDS) -> bool:
    try:
        check(data, kind, max_fields)
    except TooManyFields:
        return False
    return True


def test_what_a_request_holds_passes() -> None:
    request = pb.GenerateImageRequest(
        prompt="x" * 2000,
        negative_prompt="🦊" * 2000,
        guidance_scale=7.5,
        seed=2**53,
        loras=[pb.Lora(name=f"lora-{n}", scale=0.5) for n in range(16)],
    )
    assert is_bounded(request.SerializeToString(), KIND)
    assert is_bounded(b"", KIND)


def test_the_bound_is_on_all_fields_together() -> None:
    assert is_bounded(EMPTY_LORA * MAX_FIELDS, KIND)
    assert not is_bounded(EMPTY_LORA * (MAX_FIELDS + 1), KIND)
    names = b"\x0a\x00" * (MAX_FIELDS - 1)
    assert is_bounded(inside_a_lora(names), KIND)
    assert not is_bounded(inside_a_lora(names) + EMPTY_LORA, KIND)


@pytest.mark.parametrize(
    "unit",
    [
        EMPTY_LORA,
        b"\x78\x00",
        b"\x7b",
        b"\x79" + bytes(8),
        b"\x7d" + bytes(4),
        b"\x08" + b"\xff" * 9,
    ],
)
def test_four_megabytes_cost_milliseconds(unit: bytes) -> None:
    data = unit * (4 * 2**20 // len(unit))
    started = time.process_time()
    assert not is_bounded(data, KIND)
    assert not is_bounded(inside_a_lora(data), KIND)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("field", ["prompt", "negative_prompt", "scheduler"])
def test_a_text_that_no_request_has_is_refused_by_its_field(field: str) -> None:
    request = pb.GenerateImageRequest()
    setattr(request, field, "x" * MAX_TEXT_BYTES)
    check(request.SerializeToString(), KIND)
    setattr(request, field, "x" * (MAX_TEXT_BYTES + 1))
    with pytest.raises(InvalidParams) as caught:
        check(request.SerializeToString(), KIND)
    assert [(v.field, v.reason) for v in caught.value.violations] == [(field, "TOO_LONG")]


def test_files_may_be_longer_than_texts() -> None:
    message = pb.GenerateImageRequest(init_image=b"\x89" * (2 * MAX_TEXT_BYTES), mask=b"x")
    check(message.SerializeToString(), KIND)


def test_whatever_bytes_come_it_ends(seeded: random.Random) -> None:
    for _ in range(300):
        data = seeded.randbytes(seeded.randrange(200))
        assert isinstance(is_bounded(data, KIND, max_fields=50), bool)
