from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2

from backend.transport.http.problem import HTTP_STATUS
from proto import text2image_pb2 as pb
from tests.support.fake_service import Failure, FakeService, bad_request, error_info, retry_info
from tests.support.http_front import GENERATE, IMAGES, STATUS, STREAM, front

# What is refused before it reaches the service.


async def test_an_unknown_path_is_404_with_a_json_error(http: httpx.AsyncClient) -> None:
    answer = await http.post("/text2image.Text2ImageService/Nope", json={})
    assert answer.status_code == 404
    assert answer.json()["code"] == "unimplemented"


async def test_a_wrong_verb_is_405(http: httpx.AsyncClient) -> None:
    answer = await http.get(GENERATE)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
@pytest.mark.parametrize("path", [GENERATE, STREAM])
async def test_a_wrong_media_type_is_415(http: httpx.AsyncClient, kind: str, path: str) -> None:
    answer = await http.post(path, content=b"{}", headers={"content-type": kind})
    assert answer.status_code == 415
    assert "application/json" in answer.headers["accept-post"]


async def test_a_large_body_is_413_whether_its_length_is_told_or_not(
    http: httpx.AsyncClient,
) -> None:
    headers = {"content-type": "application/json"}
    for path, most in ((GENERATE, 6 * 2**20), (STATUS, 256 * 1024)):
        body = b'{"prompt": "' + b"a" * most + b'"}'

        async def chunks(body: bytes = body) -> AsyncIterator[bytes]:
            yield body[:200_000]
            yield body[200_000:]

        told = await http.post(path, content=body, headers=headers)
        untold = await http.post(path, content=chunks(), headers=headers)
        assert (told.status_code, untold.status_code) == (413, 413)


@pytest.mark.parametrize(
    "headers",
    [
        {"connect-protocol-version": "2"},
        {"connect-timeout-ms": "soon"},
        {"connect-timeout-ms": "12345678901"},
        {"connect-timeout-ms": "-1"},
    ],
)
async def test_bad_connect_headers_are_400(
    http: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await http.post(GENERATE, json={"prompt": "a fox"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")


async def test_bad_credentials_in_bytes_are_401(http: httpx.AsyncClient) -> None:
    headers = {b"authorization": b"Bearer \xff\xfe"}
    answer = await http.post(STATUS, json={}, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_malformed_protobuf_is_400_without_parser_text(http: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/proto"}
    answer = await http.post(GENERATE, content=b"\xff\xff\xff", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["message"] == "malformed request message"


async def test_bad_fields_never_reach_the_service(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    answer = await http.post(GENERATE, json={"prompt": "a fox", "steps": 3, "height": 512.5})
    assert answer.status_code == 400
    [detail] = answer.json()["details"]
    fields = {v["field"] for v in detail["debug"]["fieldViolations"]}
    assert fields == {"steps", "height"}
    assert service.requests == []


# What the service refuses.


@pytest.mark.parametrize("path", [GENERATE, STREAM, IMAGES])
@pytest.mark.parametrize("item", ["1", "{}", "[]", '{"a":1}'])
async def test_more_values_than_any_request_has_are_never_looked_at(
    http: httpx.AsyncClient, path: str, item: str
) -> None:
    body = f'{{"prompt":"a","loras":[{",".join([item] * (240_000 // (len(item) + 1)))}]}}'
    started = time.process_time()
    answer = await http.post(path, content=body, headers={"content-type": "application/json"})
    assert time.process_time() - started < 1
    assert answer.status_code == 400
    assert "more values than any request has" in answer.text
    assert len(answer.content) < 1000


@pytest.mark.parametrize("path", [GENERATE, IMAGES])
async def test_a_refusal_is_short_however_many_faults_there_are(
    http: httpx.AsyncClient, path: str
) -> None:
    answer = await http.post(path, json={f"name-{n}": n for n in range(2000)})
    assert answer.status_code == 400
    assert len(answer.content) < 16 * 1024


async def test_a_text_of_nothing_but_punctuation_is_a_text(http: httpx.AsyncClient) -> None:
    texts = {"prompt": ",:[{" * 500, "negativePrompt": "[,{:" * 500}
    assert (await http.post(GENERATE, json=texts)).status_code == 200


async def test_protobuf_of_too_many_fields_is_400(http: httpx.AsyncClient) -> None:
    body = pb.GenerateImageRequest(loras=[pb.Lora()]).SerializeToString() * 2000
    headers = {"content-type": "application/proto"}
    answer = await http.post(GENERATE, content=body, headers=headers)
    assert answer.status_code == 400
    assert "more fields than any request has" in answer.json()["message"]


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.value[0]])
async def test_every_grpc_code_has_its_http_status(
    http: httpx.AsyncClient, service: FakeService, code: grpc.StatusCode
) -> None:
    service.failure = Failure(code, "no")
    answer = await http.post(GENERATE, json={"prompt": "a fox"})
    assert answer.status_code == HTTP_STATUS.get(code, 500)
    expected = "canceled" if code is grpc.StatusCode.CANCELLED else code.name.lower()
    assert answer.json() == {"code": expected, "message": "no"}


async def test_details_arrive_as_bytes_and_as_json(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    refusal = bad_request(height="Too tall.", width="Too wide.")
    service.failure = Failure(grpc.StatusCode.INVALID_ARGUMENT, "Two bad fields.", (refusal,))
    error = (await http.post(GENERATE, json={"prompt": "a fox"})).json()
    [detail] = error["details"]
    assert detail["type"] == "google.rpc.BadRequest"
    assert "=" not in detail["value"]
    padded = detail["value"] + "=" * (-len(detail["value"]) % 4)
    assert error_details_pb2.BadRequest.FromString(base64.b64decode(padded)) == refusal
    assert detail["debug"]["fieldViolations"][0]["description"] == "Too tall."


async def test_a_full_queue_is_429_and_says_when_to_come_back(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    details = (error_info("QUEUE_FULL"), retry_info(2.3))
    service.failure = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "Full.", details)
    answer = await http.post(GENERATE, json={"prompt": "a fox"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")


async def test_a_backend_that_is_gone_is_503_without_its_address(service: FakeService) -> None:
    async with front(service) as http:
        service.stop()
        answer = await http.post(GENERATE, json={"prompt": "a fox"})
    assert answer.status_code == 503
    assert "127.0.0.1" not in answer.text


async def test_a_deadline_is_504_and_stops_the_work(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.hang_at_step = 1
    headers = {"connect-timeout-ms": "200"}
    answer = await http.post(GENERATE, json={"prompt": "a fox"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    assert await asyncio.to_thread(service.wait_cancelled)


@pytest.mark.parametrize("path", [GENERATE, STREAM])
async def test_a_caller_that_hangs_up_cancels(
    http: httpx.AsyncClient, service: FakeService, path: str
) -> None:
    service.hang_at_step = 1
    with pytest.raises(httpx.ReadTimeout):
        await http.post(path, json={"prompt": "a fox"}, timeout=httpx.Timeout(5, read=0.3))
    assert await asyncio.to_thread(service.wait_cancelled)


# What works.


async def test_json_goes_in_and_comes_out(http: httpx.AsyncClient, service: FakeService) -> None:
    fields = {"prompt": "a fox", "seed": 3, "num_images": 2}
    answer = await http.post(GENERATE, json=fields)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    images = answer.json()["images"]
    assert [image["seed"] for image in images] == ["3", "4"]
    assert base64.b64decode(images[0]["data"]).startswith(b"\x89PNG")
    assert images[0]["nsfwDetected"] is False
    assert service.requests == [pb.GenerateImageRequest(prompt="a fox", seed=3, num_images=2)]


async def test_protobuf_goes_in_and_comes_out(http: httpx.AsyncClient) -> None:
    request = pb.GenerateImageRequest(prompt="a fox", seed=3)
    headers = {"content-type": "application/proto", "connect-protocol-version": "1"}
    answer = await http.post(GENERATE, content=request.SerializeToString(), headers=headers)
    assert answer.headers["content-type"] == "application/proto"
    assert pb.GenerateImageResponse.FromString(answer.content).images[0].seed == 3


async def test_status_needs_no_fields_and_shows_its_zeros(http: httpx.AsyncClient) -> None:
    status = (await http.post(STATUS, json={})).json()
    assert status["state"] == "STATE_READY"
    assert status["queue"] == {"queued": 0, "running": 0, "capacity": 64}


async def test_details_of_types_that_are_not_ours_keep_their_names(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    detail = error_details_pb2.Help(links=[error_details_pb2.Help.Link(url="x")])
    service.failure = Failure(grpc.StatusCode.INTERNAL, "no", (detail,))
    [told] = (await http.post(GENERATE, json={"prompt": "a"})).json()["details"]
    assert told["type"] == "google.rpc.Help"
    padded = told["value"] + "=" * (-len(told["value"]) % 4)
    assert error_details_pb2.Help.FromString(base64.b64decode(padded)) == detail


async def test_the_caller_and_its_credentials_are_passed_on(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    headers = {"authorization": "Bearer secret", "x-text2image-client": "somebody-else"}
    await http.post(GENERATE, json={"prompt": "a fox"}, headers=headers)
    [seen] = service.metadata
    assert seen["authorization"] == "Bearer secret"
    assert seen["x-text2image-client"] == "127.0.0.1"
