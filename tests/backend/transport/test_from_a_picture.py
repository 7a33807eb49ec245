"""Requests that start from a picture, through gRPC and through JSON."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from backend.transport.http import body
from proto import text2image_pb2 as pb
from tests.support.fakes import FakeModel, Gate
from tests.support.http_front import GENERATE, STREAM, front, parse_events
from tests.support.served import TIMEOUT_S, Served, ask, fields_of, refusal_of, served, until


def file(size: tuple[int, int] = (64, 64), seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def white(size: tuple[int, int] = (64, 64)) -> bytes:
    out = io.BytesIO()
    Image.new("L", size, 255).save(out, "PNG")
    return out.getvalue()


async def story(running: Served, **changes: Any) -> list[pb.GenerateImageEvent]:
    call = running.stub.StreamGenerateImage(ask(**changes), timeout=TIMEOUT_S)
    return [event async for event in call]


async def test_only_the_steps_that_strength_leaves_are_run_and_told() -> None:
    async with served() as running:
        events = await story(running, init_image=file(), strength=0.7, num_inference_steps=10)
        text = await story(running, num_inference_steps=10)
    steps = [event.progress for event in events if event.HasField("progress")]
    assert steps[-1].step == steps[-1].num_steps == 7
    assert [e.progress.num_steps for e in text if e.HasField("progress")][-1] == 10
    assert running.model.encoded == ["a red apple"]


async def test_several_images_share_one_encode_and_the_answer_names_the_files() -> None:
    picture, mask = file((96, 64)), white((96, 64))
    async with served() as running:
        request = ask(init_image=picture, mask=mask, num_images=3)
        answer = await running.stub.GenerateImage(request, timeout=TIMEOUT_S)
    assert running.model.encoded == ["a red apple"]
    assert len(answer.images) == 3
    assert (answer.images[0].width, answer.images[0].height) == (80, 64)
    info = answer.info
    assert info.init_image_sha256 == hashlib.sha256(picture).hexdigest()
    assert info.mask_sha256 == hashlib.sha256(mask).hexdigest()
    assert (info.request.width, info.request.height, info.request.strength) == (80, 64, 1.0)
    assert info.request.init_image == info.request.mask == b""
    assert info.timings.encode_ms > 0
    assert answer.images[0].data != b""


async def test_what_the_mask_keeps_comes_back_to_the_bit() -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 64))
    out = io.BytesIO()
    mask.save(out, "PNG")
    async with served() as running:
        request = ask(init_image=file(), mask=out.getvalue())
        answer = await running.stub.GenerateImage(request, timeout=TIMEOUT_S)
    drawn, original = (
        np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        for data in (answer.images[0].data, file())
    )
    assert np.array_equal(drawn[:, 32:], original[:, 32:])
    assert not np.array_equal(drawn[:, :32], original[:, :32])


async def test_a_retry_joins_by_the_files_and_another_file_conflicts() -> None:
    async with served() as running:
        given: dict[str, Any] = {"request_id": "mine", "init_image": file()}
        first = await running.stub.GenerateImage(ask(**given), timeout=TIMEOUT_S)
        again = await running.stub.GenerateImage(ask(**given), timeout=TIMEOUT_S)
        assert first.images == again.images
        assert len(running.model.encoded) == 1
        for other in ({"init_image": file(seed=1)}, {"strength": 0.5}, {"mask": white()}):
            call = running.stub.GenerateImage(ask(**(given | other)), timeout=TIMEOUT_S)
            assert (await refusal_of(call)).code() is grpc.StatusCode.ALREADY_EXISTS


async def test_what_is_wrong_is_told_at_once() -> None:
    wrong: list[tuple[dict[str, Any], list[str]]] = [
        ({"init_image": b"x", "num_images": 99}, ["init_image", "num_images"]),
        ({"init_image": file(), "strength": 0.0}, ["strength"]),
        ({"init_image": file(), "strength": float("nan")}, ["strength"]),
        ({"init_image": file(), "strength": 0.2, "num_inference_steps": 4}, ["strength"]),
        ({"mask": white()}, ["mask"]),
        ({"init_image": file(), "mask": white((72, 64))}, ["mask"]),
        ({"init_image": file(), "width": 99, "height": 64}, ["width"]),
    ]
    async with served() as running:
        for changes, fields in wrong:
            call = running.stub.GenerateImage(ask(**changes), timeout=TIMEOUT_S)
            error = await refusal_of(call)
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert fields_of(error) == fields, changes
        assert (await running.counters()).rejected == len(wrong)
        assert running.model.encoded == []


async def test_a_full_queue_refuses_before_it_reads_the_picture() -> None:
    gate = Gate()
    async with served(FakeModel(gate=gate), max_queue=1) as running:
        going = [asyncio.ensure_future(story(running, prompt="first"))]
        await until(lambda: running.backend.status().running == 1)
        going.append(asyncio.ensure_future(story(running, prompt="second")))
        await until(lambda: running.backend.status().queued == 1)
        call = running.stub.GenerateImage(ask(init_image=b"no picture"), timeout=TIMEOUT_S)
        assert (await refusal_of(call)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        gate.open()
        await asyncio.gather(*going)


async def test_an_encode_that_fails_fails_its_request_alone() -> None:
    async with served(FakeModel(fails_in={"bad": "encode"})) as running:
        bad = running.stub.GenerateImage(ask("bad", init_image=file()), timeout=TIMEOUT_S)
        good = running.stub.GenerateImage(ask("good", init_image=file()), timeout=TIMEOUT_S)
        assert (await refusal_of(bad)).code() is grpc.StatusCode.INTERNAL
        assert len((await good).images) == 1


async def test_pictures_as_base64_in_json_and_what_does_not_fit() -> None:
    picture = file((900, 900))  # 2.4 MB of noise
    message = {
        "prompt": "a fox",
        "num_inference_steps": 4,
        "strength": 0.5,
        "init_image": base64.b64encode(picture).decode(),
    }
    async with served() as running, front(running.server.local_target) as http:
        answer = (await http.post(GENERATE, json=message)).json()
        assert answer["info"]["initImageSha256"] == hashlib.sha256(picture).hexdigest()
        assert answer["images"][0]["width"] == 64
        events = parse_events((await http.post(STREAM, json=message)).text)
        assert events[-1].data["done"]["request"]["strength"] == 0.5
        large = await http.post(
            GENERATE, json=message | {"mask": base64.b64encode(b"x" * 1_900_000).decode()}
        )
        assert large.status_code == 429
        assert large.json()["code"] == "resource_exhausted"


async def test_large_bodies_are_bounded_together_and_small_ones_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(body, "MAX_HELD_BYTES", 0)
    message = {"prompt": "a fox", "init_image": base64.b64encode(b"x" * 300_000).decode()}
    async with served() as running, front(running.server.local_target) as http:
        for path in (GENERATE, STREAM):
            answer = await http.post(path, json=message)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        small = {"prompt": "a fox", "init_image": base64.b64encode(file()).decode()}
        assert (await http.post(GENERATE, json=small)).status_code == 200
