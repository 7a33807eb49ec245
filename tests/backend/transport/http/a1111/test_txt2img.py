from __future__ import annotations

import base64
import json
from typing import Any

import grpc
import httpx
import pytest

from proto import text2image_pb2 as pb
from tests.support.fake_service import (
    Failure,
    FakeService,
    bad_request,
    error_info,
    retry_info,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

TXT2IMG = "/sdapi/v1/txt2img"


async def test_every_parameter_arrives_and_info_tells_what_was_used(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.status.schedulers.append("euler_ancestral")
    fields = {
        "prompt": "a fox",
        "negative_prompt": "dull",
        "seed": 5,
        "steps": 4,
        "cfg_scale": 7.1,
        "width": 131,  # no multiple of 8
        "height": "64",
        "sampler_index": "Euler a",
        "batch_size": 2,
        "override_settings": {"samples_format": "jpg"},
    }
    answer = await http.post(TXT2IMG, json=fields)
    assert answer.status_code == 200
    pictures = [base64.b64decode(text) for text in answer.json()["images"]]
    assert [data[:2] for data in pictures] == [b"\xff\xd8", b"\xff\xd8"]
    assert answer.json()["parameters"] == fields
    info = json.loads(answer.json()["info"])
    assert (info["seed"], info["all_seeds"]) == (5, [5, 6])
    assert (info["width"], info["height"], info["steps"]) == (128, 64, 4)
    assert (info["prompt"], info["all_negative_prompts"]) == ("a fox", ["dull", "dull"])
    assert (info["sampler_name"], info["scheduler"]) == ("Euler a", "Automatic")
    assert (info["cfg_scale"], info["batch_size"], len(info["infotexts"])) == (7.1, 2, 2)
    [seen] = service.requests
    assert seen.scheduler == "euler_ancestral"
    assert seen.guidance_scale == pytest.approx(7.1)
    assert (seen.width, seen.height, seen.num_images, seen.seed) == (128, 64, 2, 5)


async def test_fifty_fields_that_say_nothing_here_are_taken_in_silence(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    fields: dict[str, Any] = {
        "prompt": "a fox",
        "enable_hr": False,
        "script_name": None,
        "script_args": [],
        "alwayson_scripts": {"controlnet": {"args": [{"enabled": False}]}},
        "styles": ["none"],
        "subseed": -1,
        "restore_faces": "yes",
        "override_settings_restore_afterwards": True,
        "override_settings": {"eta_noise_seed_delta": 31337},
        **{f"unknown_{number}": number for number in range(50)},
    }
    assert (await http.post(TXT2IMG, json=fields)).status_code == 200
    [seen] = service.requests
    assert (seen.prompt, seen.HasField("seed"), seen.HasField("width")) == ("a fox", False, False)


async def test_prompts_are_read_as_there(http: httpx.AsyncClient, service: FakeService) -> None:
    fields: dict[str, Any] = {"prompt": "a (fox:1.2)"}
    await http.post(TXT2IMG, json=fields)
    fields["override_settings"] = {"CLIP_stop_at_last_layers": 2}
    await http.post(TXT2IMG, json=fields)
    assert {seen.prompt_syntax for seen in service.requests} == {pb.PROMPT_SYNTAX_A1111}
    assert [seen.clip_skip for seen in service.requests] == [0, 2]
    fields["override_settings"] = {"CLIP_stop_at_last_layers": "two"}
    assert (await http.post(TXT2IMG, json=fields)).status_code == 422


@pytest.mark.parametrize("nothing", [None, ""])
async def test_nothing_means_the_default(
    http: httpx.AsyncClient, service: FakeService, nothing: object
) -> None:
    names = ("seed", "steps", "cfg_scale", "width", "height", "batch_size", "n_iter")
    answer = await http.post(TXT2IMG, json={"prompt": "a fox", **dict.fromkeys(names, nothing)})
    assert answer.status_code == 200
    [seen] = service.requests
    assert not any(seen.HasField(name) for name in ("seed", "num_inference_steps", "num_images"))


async def test_rounds_go_on_with_the_seeds(http: httpx.AsyncClient, service: FakeService) -> None:
    fields = {"prompt": "a fox", "n_iter": 2, "batch_size": 2, "seed": -1}
    answer = await http.post(TXT2IMG, json=fields)
    seeds = json.loads(answer.json()["info"])["all_seeds"]
    assert seeds == list(range(seeds[0], seeds[0] + 4))
    assert service.requests[1].seed == seeds[2]
    assert len(answer.json()["images"]) == 4


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"steps": []}, "steps"),
        ({"steps": True}, "steps"),
        ({"width": "wide"}, "width"),
        ({"seed": 2**70}, "seed"),
        ({"prompt": 7}, "prompt"),
        ({"n_iter": 0}, "n_iter"),
        ({"n_iter": 100}, "n_iter"),
        ({"override_settings": []}, "override_settings"),
    ],
)
async def test_what_cannot_be_read_is_422_and_named(
    http: httpx.AsyncClient, service: FakeService, fields: dict[str, Any], name: str
) -> None:
    answer = await http.post(TXT2IMG, json={"prompt": "a fox", **fields})
    assert answer.status_code == 422
    assert set(answer.json()) == {"error", "detail", "body", "errors"}
    assert answer.json()["detail"].startswith(f"{name}: ")
    assert service.requests == []


async def test_other_bodies_and_verbs(http: httpx.AsyncClient) -> None:
    assert (await http.post(TXT2IMG, content=b"{")).status_code == 415
    headers = {"content-type": "application/json"}
    assert (await http.post(TXT2IMG, content=b"{", headers=headers)).status_code == 422
    assert (await http.post(TXT2IMG, content=b"[]", headers=headers)).status_code == 422
    assert (await http.get(TXT2IMG)).status_code == 405
    large = await http.post(TXT2IMG, json={"prompt": "a", "filler": "x" * 300_000})
    assert (large.status_code, large.json()["error"]) == (413, "HTTPException")


@pytest.mark.parametrize(
    ("failure", "status", "error", "detail"),
    [
        (
            Failure(
                grpc.StatusCode.INVALID_ARGUMENT, "Bad.", (bad_request(num_images="Too many."),)
            ),
            422,
            "HTTPException",
            "batch_size: Too many.",
        ),
        (
            Failure(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "Full.",
                (error_info("QUEUE_FULL"), retry_info(2)),
            ),
            429,
            "HTTPException",
            "Full.",
        ),
        (
            Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "Memory.", (error_info("OUT_OF_MEMORY"),)),
            429,
            "OutOfMemoryError",
            "Memory.",
        ),
        (Failure(grpc.StatusCode.UNAVAILABLE, "Loading."), 503, "RuntimeError", "Loading."),
    ],
)
async def test_the_services_refusals_in_a1111s_words(
    http: httpx.AsyncClient,
    service: FakeService,
    failure: Failure,
    status: int,
    error: str,
    detail: str,
) -> None:
    service.failure = failure
    answer = await http.post(TXT2IMG, json={"prompt": "a fox"})
    assert answer.status_code == status
    assert (answer.json()["error"], answer.json()["detail"]) == (error, detail)


async def test_a_withheld_picture_is_left_out(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.nsfw = [0]
    answer = (await http.post(TXT2IMG, json={"prompt": "a", "batch_size": 2, "seed": 5})).json()
    assert len(answer["images"]) == 1
    assert json.loads(answer["info"])["all_seeds"] == [6]
    none = await http.post(TXT2IMG, json={"prompt": "a"})
    assert (none.status_code, none.json()["error"]) == (403, "HTTPException")


async def test_pictures_may_be_left_out(http: httpx.AsyncClient) -> None:
    answer = (await http.post(TXT2IMG, json={"prompt": "a", "send_images": False})).json()
    assert answer["images"] == []
    assert len(json.loads(answer["info"])["all_seeds"]) == 1
