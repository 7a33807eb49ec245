from __future__ import annotations

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.transport.http import strict_json
from backend.transport.http.problem import Problem
from proto import text2image_pb2 as pb


def refused(text: str | bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        strict_json.parse(text, pb.GenerateImageRequest)
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
        ('{"height": 512.0}', "height", "WRONG_TYPE"),
        ('{"height": true}', "height", "WRONG_TYPE"),
        ('{"height": "tall"}', "height", "WRONG_TYPE"),
        ('{"height": 2147483648}', "height", "OUT_OF_RANGE"),
        ('{"seed": 9223372036854775808}', "seed", "OUT_OF_RANGE"),
        ('{"guidance_scale": "NaN"}', "guidance_scale", "WRONG_TYPE"),
        ('{"guidance_scale": true}', "guidance_scale", "WRONG_TYPE"),
        ('{"guidance_scale": 1e39}', "guidance_scale", "OUT_OF_RANGE"),
        ('{"guidance_scale": 1e999}', "guidance_scale", "OUT_OF_RANGE"),
        ('{"prompt": 7}', "prompt", "WRONG_TYPE"),
        (r'{"prompt": "\ud800"}', "prompt", "NOT_UNICODE"),
        ('{"output_format": "GIF"}', "output_format", "UNKNOWN"),
        ('{"output_format": 9}', "output_format", "UNKNOWN"),
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
    assert refused('{"num_images": 1, "numImages": 2}').message == "malformed request message"


def test_both_spellings_strings_for_integers_and_null_are_protojson() -> None:
    text = (
        '{"prompt": "a fox", "numImages": 2, "num_inference_steps": 4, "seed": "7", "width": null}'
    )
    message = strict_json.parse(text, pb.GenerateImageRequest)
    assert (message.prompt, message.num_images, message.num_inference_steps) == ("a fox", 2, 4)
    assert message.seed == 7
    assert not message.HasField("width")


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
        message = strict_json.from_dict(value, pb.GenerateImageRequest)
    except Problem:
        return
    assert message == json_format.ParseDict(value, pb.GenerateImageRequest())
