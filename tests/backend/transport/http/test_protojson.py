"""ProtoJSON by protobuf's conformance suite, and what is refused."""

from __future__ import annotations

import base64
import binascii
import json
import math
import random
from collections.abc import Callable

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.transport.http import protojson
from backend.transport.http.problem import Problem
from backend.transport.wire import MAX_TEXT_BYTES
from proto import text2image_pb2 as pb


def refused(text: str | bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        protojson.parse(text, pb.GenerateImageRequest)
    assert caught.value.http_status == 400
    return caught.value


def refused_fields(text: str) -> dict[str, str]:
    return {v.field: v.reason for v in refused(text).violations}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"prompt"',
        '{"guidance_scale": NaN}',
        '{"guidance_scale": -Infinity}',
        '{"prompt": "a", "prompt": "b"}',
        "[" * 100_000,
        '{"seed": ' + "9" * 5000 + "}",
        b'{"prompt": "\xff"}',
        b"\xff\xfe{\x00}\x00",
    ],
)
def test_what_is_no_json_object_is_refused_without_parser_text(text: str | bytes) -> None:
    problem = refused(text)
    assert problem.message in ("The body is not valid JSON.", "The body must be a JSON object.")


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        ('{"height": 512.5}', "height", "WRONG_TYPE"),
        ('{"height": "512 "}', "height", "WRONG_TYPE"),
        ('{"height": "0512"}', "height", "WRONG_TYPE"),
        ('{"height": "٥"}', "height", "WRONG_TYPE"),
        ('{"seed": "１２"}', "seed", "WRONG_TYPE"),
        ('{"height": true}', "height", "WRONG_TYPE"),
        ('{"height": "tall"}', "height", "WRONG_TYPE"),
        ('{"height": 2147483648}', "height", "WRONG_TYPE"),
        ('{"seed": 9223372036854775808}', "seed", "WRONG_TYPE"),
        ('{"guidance_scale": "nan"}', "guidance_scale", "WRONG_TYPE"),
        ('{"guidance_scale": "a"}', "guidance_scale", "WRONG_TYPE"),
        ('{"guidance_scale": true}', "guidance_scale", "WRONG_TYPE"),
        ('{"guidance_scale": 1e39}', "guidance_scale", "WRONG_TYPE"),
        ('{"guidance_scale": 1' + "0" * 400 + "}", "guidance_scale", "WRONG_TYPE"),
        ('{"prompt": 7}', "prompt", "WRONG_TYPE"),
        (r'{"prompt": "\ud800"}', "prompt", "WRONG_TYPE"),
        ('{"output_format": "GIF"}', "output_format", "UNKNOWN"),
        ('{"output_format": 1.5}', "output_format", "UNKNOWN"),
        ('{"output_format": "1"}', "output_format", "UNKNOWN"),
        ('{"output_format": true}', "output_format", "UNKNOWN"),
        ('{"output_format": []}', "output_format", "UNKNOWN"),
        ('{"output_format": {}}', "output_format", "UNKNOWN"),
        ('{"loras": {}}', "loras", "WRONG_TYPE"),
        ('{"loras": [7]}', "loras[0]", "WRONG_TYPE"),
        ('{"loras": [null]}', "loras[0]", "WRONG_TYPE"),
        ('{"loras": [{"name": "a", "weight": 1}]}', "loras[0].weight", "UNKNOWN_FIELD"),
        ('{"steps": 20}', "steps", "UNKNOWN_FIELD"),
    ],
)
def test_a_bad_field_is_named(text: str, field: str, reason: str) -> None:
    assert refused_fields(text) == {field: reason}


def test_all_bad_fields_are_told_at_once() -> None:
    found = refused_fields('{"steps": 20, "height": 1.5, "loras": [{"scale": "x"}], "prompt": 1}')
    assert set(found) == {"steps", "height", "loras[0].scale", "prompt"}


def test_a_field_given_by_both_its_names_is_refused() -> None:
    assert (
        refused('{"num_images": 1, "numImages": 2}').message
        == "A field is given by both of its names."
    )


def test_both_spellings_strings_for_integers_and_null_are_protojson() -> None:
    text = (
        '{"prompt": "a fox", "numImages": 2, "num_inference_steps": 4, "seed": "7", "width": null}'
    )
    message = protojson.parse(text, pb.GenerateImageRequest)
    assert (message.prompt, message.num_images, message.num_inference_steps) == ("a fox", 2, 4)
    assert message.seed == 7
    assert not message.HasField("width")


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ('{"numInferenceSteps": 2.000}', "num_inference_steps", 2),
        ('{"numInferenceSteps": 1e1}', "num_inference_steps", 10),
        ('{"numInferenceSteps": "1e1"}', "num_inference_steps", 10),
        ('{"height": 2.147483647e9}', "height", 2**31 - 1),
        ('{"height": -2.147483648e9}', "height", -(2**31)),
        ('{"guidanceScale": "7.5"}', "guidance_scale", 7.5),
        ('{"guidanceScale": "1.5e0"}', "guidance_scale", 1.5),
        ('{"outputFormat": 1.0}', "output_format", 1),
        ('{"outputFormat": 9}', "output_format", 9),  # the engine's to refuse, as over gRPC
    ],
)
def test_numbers_as_protojson_has_them(text: str, field: str, value: float) -> None:
    """REQUIRED by protobuf's conformance suite: a trailing zero, exponents, quotes."""
    assert getattr(protojson.parse(text, pb.GenerateImageRequest), field) == value


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_protojson_and_the_engines_to_refuse(value: str) -> None:
    text = f'{{"prompt": "a", "guidanceScale": "{value}"}}'
    message = protojson.parse(text, pb.GenerateImageRequest)
    assert not math.isfinite(message.guidance_scale)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3)
    ),
    max_leaves=8,
)
field_names = st.sampled_from([f.name for f in pb.GenerateImageRequest.DESCRIPTOR.fields])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(field_names, json_values, max_size=4))
def test_what_is_not_refused_is_read_as_json_format_reads_it(value: dict[str, object]) -> None:
    try:
        message = protojson.from_dict(value, pb.GenerateImageRequest)
    except Problem:
        return
    expected = json_format.ParseDict(value, pb.GenerateImageRequest())
    assert message.SerializeToString() == expected.SerializeToString()  # NaN is not itself


@pytest.mark.parametrize("name", ["init_image", "initImage"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 65_535, 65_536, 200_001])
@pytest.mark.parametrize(
    "write",
    [
        base64.b64encode,
        base64.urlsafe_b64encode,
        lambda data: base64.b64encode(data).rstrip(b"="),
        base64.encodebytes,
    ],
)
def test_files_are_read_in_both_alphabets_with_or_without_padding_and_newlines(
    name: str, size: int, write: Callable[[bytes], bytes]
) -> None:
    data = random.Random(size).randbytes(size)
    text = json.dumps({"prompt": "a", name: write(data).decode()})
    message = protojson.parse(text, pb.GenerateImageRequest)
    assert (message.prompt, message.init_image) == ("a", data)


@pytest.mark.parametrize("content", ["A", "AAAAA", "=", "AA=A", "äää", "!!!!", "A" * 65_537])
def test_what_is_not_base64_is_refused_by_its_field(content: str) -> None:
    text = json.dumps({"prompt": 7, "mask": content})
    assert refused_fields(text) == {"prompt": "WRONG_TYPE", "mask": "WRONG_TYPE"}


def test_a_file_given_by_both_names_is_refused() -> None:
    assert "both of its names" in refused('{"initImage": "AA", "init_image": "AA"}').message


def test_no_call_holds_the_threads_lock_for_a_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """What binascii is given at once takes a tenth of a millisecond."""
    sizes = []
    decode = binascii.a2b_base64

    def counting(data: bytes, *, strict_mode: bool) -> bytes:
        sizes.append(len(data))
        return decode(data, strict_mode=strict_mode)

    monkeypatch.setattr(binascii, "a2b_base64", counting)
    data = bytes(4_000_000)
    assert protojson.from_base64(base64.b64encode(data).decode()) == data
    assert max(sizes) <= protojson.PIECE_CHARACTERS + 3


def test_long_texts_are_refused_unread() -> None:
    text = json.dumps(
        {"prompt": "\ud800" + "a" * MAX_TEXT_BYTES, "loras": [{"name": "b" * 70_000}]}
    )
    assert refused_fields(text) == {"prompt": "TOO_LONG", "loras[0].name": "TOO_LONG"}
