"""/v1/images/edits and /v1/images/variations: forms with pictures."""

from __future__ import annotations

import io
from typing import Any

import grpc
import httpx
import pytest
from PIL import Image

from backend.transport.http.openai import form
from backend.transport.http.openai.edits import as_mask
from tests.support.fake_service import Failure, FakeService, bad_request
from tests.support.http_front import EDITS, VARIATIONS, parse_events

FOX = {"prompt": "a fox"}


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


PICTURE = png(Image.new("RGB", (64, 64), "red"))
FILE = ("image", ("fox.png", PICTURE, "image/png"))


@pytest.mark.parametrize("path", [EDITS, VARIATIONS])
async def test_a_form_without_its_picture_names_it(
    http: httpx.AsyncClient, service: FakeService, path: str
) -> None:
    for files in ([("other", ("a", b"x"))], [("image", ("a.png", b""))]):
        answer = await http.post(path, data=FOX, files=files)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, "image")
        assert error["code"] == "missing_required_parameter"
    assert service.requests == []


async def test_an_empty_mask_is_refused_and_a_field_without_a_file_is_none(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    answer = await http.post(EDITS, data=FOX, files=[FILE, ("mask", ("mask.png", b""))])
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "mask")
    assert service.requests == []
    asked = http.build_request("POST", EDITS, data=FOX, files=[FILE, ("mask", ("none", b""))])
    body = asked.read().replace(b'filename="none"', b'filename=""')
    headers = {"content-type": asked.headers["content-type"]}
    answer = await http.post(EDITS, content=body, headers=headers)
    assert answer.status_code == 200
    assert [request.mask for request in service.requests] == [b""]


async def test_no_form_is_415(http: httpx.AsyncClient) -> None:
    answer = await http.post(EDITS, json={"prompt": "a fox", "image": "x"})
    assert (answer.status_code, answer.headers["accept-post"]) == (415, "multipart/form-data")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n"),
        ("multipart/form-data; boundary=x", b"{}"),
    ],
)
async def test_a_broken_form_is_400(http: httpx.AsyncClient, kind: str, body: bytes) -> None:
    answer = await http.post(EDITS, content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_argument")


async def test_a_form_has_so_many_parts_and_so_many_bytes(http: httpx.AsyncClient) -> None:
    for files, data in (
        ([FILE] * (form.MAX_FILES + 1), FOX),
        ([FILE], {f"field-{n}": "x" for n in range(form.MAX_FIELDS + 1)}),
        ([FILE], {"prompt": "a" * (form.MAX_FIELD_BYTES + 1)}),
    ):
        answer = await http.post(EDITS, files=files, data=data)
        assert answer.status_code == 400, answer.text
    huge = [("image", ("fox.png", b"x" * form.MAX_FORM_BYTES, "image/png"))]
    assert (await http.post(EDITS, files=huge, data=FOX)).status_code == 413


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"n": "many"}, "n", "invalid_type"),
        ({"n": "1.5"}, "n", "invalid_type"),
        ({"n": "9" * 5000}, "n", "invalid_type"),
        ({"strength": "NaN"}, "strength", "invalid_type"),
        ({"strength": "0"}, "strength", "invalid_value"),
        ({"strength": "1.1"}, "strength", "invalid_value"),
        ({"size": "large"}, "size", "invalid_type"),
        ({"loras": "["}, "loras", "invalid_type"),
        ({"prompt": None}, "prompt", "missing_required_parameter"),
    ],
)
async def test_bad_fields_are_named(
    http: httpx.AsyncClient, service: FakeService, fields: dict[str, Any], param: str, code: str
) -> None:
    given = {name: value for name, value in {**FOX, **fields}.items() if value is not None}
    answer = await http.post(EDITS, data=given, files=[FILE])
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
    assert service.requests == []


async def test_what_the_service_says_of_the_picture_is_said_of_image(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    details = (bad_request(init_image="Not a picture."),)
    service.failure = Failure(grpc.StatusCode.INVALID_ARGUMENT, "Bad.", details)
    answer = await http.post(EDITS, data=FOX, files=[FILE])
    assert answer.json()["error"]["param"] == "image"
    assert answer.json()["error"]["message"] == "image: Not a picture."


async def test_every_parameter_arrives(http: httpx.AsyncClient, service: FakeService) -> None:
    fields = {
        **FOX,
        "n": "2",
        "size": "128x64",
        "strength": "0.5",
        "steps": "4",
        "cfg_scale": "3.5",
        "seed": "7",
        "user": "12",
        "input_fidelity": "high",
    }
    more: list[Any] = [("image[]", ("a.png", b"second", "image/png")), ("extra", ("b", b"x"))]
    answer = await http.post(EDITS, data=fields, files=[FILE, *more])
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["data"]) == 2
    assert answer.headers["x-ignored-parameters"] == "input_fidelity, user, image, extra"
    [seen] = service.requests
    assert (seen.init_image, seen.mask) == (PICTURE, b"")
    assert (seen.num_images, seen.width, seen.height, seen.seed) == (2, 128, 64, 7)
    assert (seen.strength, seen.num_inference_steps, seen.guidance_scale) == (0.5, 4, 3.5)


async def test_a_variation_needs_no_prompt_and_keeps_close(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    assert (await http.post(VARIATIONS, files=[FILE])).status_code == 200
    assert (await http.post(VARIATIONS, files=[FILE], data=FOX)).status_code == 200
    first, second = service.requests
    assert first.prompt
    assert 0 < first.strength < 0.8
    assert second.prompt == "a fox"


async def test_an_edit_streams(http: httpx.AsyncClient, service: FakeService) -> None:
    fields = {**FOX, "stream": "true", "partial_images": "1", "num_inference_steps": "4"}
    answer = await http.post(EDITS, data=fields, files=[FILE])
    assert [event.name for event in parse_events(answer.text)] == [
        "image_edit.partial_image",
        "image_edit.completed",
    ]


async def test_a_mask_of_openais_is_turned_into_ours(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    drawn = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    drawn.paste((0, 0, 0, 0), (16, 16, 48, 48))
    mask = ("mask", ("mask.png", png(drawn), "image/png"))
    assert (await http.post(EDITS, data=FOX, files=[FILE, mask])).status_code == 200
    [seen] = service.requests
    ours = Image.open(io.BytesIO(seen.mask))
    assert (ours.mode, ours.size) == ("L", (64, 64))
    assert (ours.getpixel((20, 20)), ours.getpixel((5, 5))) == (255, 0)


@pytest.mark.parametrize(
    "mask",
    [
        png(Image.new("RGB", (8, 8), "white")),
        png(Image.new("L", (8, 8), 255)),
        png(Image.new("RGBA", (8, 8), (255, 255, 255, 255))),
        b"not a picture",
        png(Image.new("RGBA", (8, 8)))[:-30],
    ],
)
def test_other_masks_go_on_as_they_are(mask: bytes) -> None:
    assert as_mask(mask) == mask
