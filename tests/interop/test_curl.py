"""curl: every status code, the picture itself, and what a closed connection does."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.interop.live import LONG, Live, unmeasured, until
from tests.support.needs import need

GENERATE = "/text2image.Text2ImageService/GenerateImage"
STREAM = "/text2image.Text2ImageService/StreamGenerateImage"
STATUS = "/text2image.Text2ImageService/GetStatus"
JSON = ("-H", "content-type: application/json")

pytestmark = pytest.mark.e2e


class Answer(NamedTuple):
    """What curl saw."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def curl(*arguments: str) -> Answer:
    command = [need("curl"), "--silent", "--show-error", "--noproxy", "*", "--include", *arguments]
    result = subprocess.run(command, capture_output=True, timeout=30, check=True)
    head, _, body = result.stdout.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), headers, body)


def post(live: Live, path: str, fields: dict[str, Any], *flags: str) -> Answer:
    return curl(*JSON, "-d", json.dumps(fields), *flags, live.http + path)


def test_400_names_every_bad_field(live: Live) -> None:
    answer = post(live, GENERATE, {"prompt": "", "num_inference_steps": 0, "guidance_scale": -1})
    assert answer.status == 400
    violations = answer.json["details"][0]["debug"]["fieldViolations"]
    fields = {violation["field"] for violation in violations}
    assert fields == {"prompt", "num_inference_steps", "guidance_scale"}


def test_404_for_an_unknown_model_and_an_unknown_path(live: Live) -> None:
    unknown = post(live, GENERATE, {"prompt": "a fox", "model": "none"})
    assert (unknown.status, unknown.json["code"]) == (404, "not_found")
    assert post(live, "/nowhere", {}).status == 404


def test_415_for_a_form(live: Live) -> None:
    assert curl("-d", "prompt=a fox", live.http + GENERATE).status == 415


def test_429_says_when_to_come_back(live: Live) -> None:
    with live.full_queue():
        answer = post(live, GENERATE, {"prompt": "a fox"})
    assert (answer.status, answer.json["code"]) == (429, "resource_exhausted")
    assert int(answer.headers["retry-after"]) >= 1


def test_504_after_the_callers_deadline(live: Live) -> None:
    answer = post(live, GENERATE, unmeasured(320), "-H", "connect-timeout-ms: 400")
    assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")
    until(lambda: live.is_idle)


def test_200_in_json(live: Live) -> None:
    answer = post(live, GENERATE, {"prompt": "a fox", "num_inference_steps": 2, "seed": 4})
    assert answer.status == 200
    assert answer.json["images"][0]["seed"] == "4"
    assert answer.json["info"]["request"]["numInferenceSteps"] == 2


def test_200_as_the_picture_itself(live: Live, tmp_path: Path) -> None:
    fields = {"prompt": "a fox", "num_inference_steps": 2}
    answer = post(live, GENERATE, fields, "-H", "accept: image/webp")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/webp")
    assert answer.body[8:12] == b"WEBP"
    assert int(answer.headers["x-seed"]) >= 0


@pytest.mark.parametrize("path", [GENERATE, STREAM, "/v1/images/generations"])
def test_a_disconnect_frees_the_model_within_a_step(live: Live, path: str) -> None:
    fields = LONG
    if path.startswith("/v1"):
        fields = {"prompt": "a slow fox", "size": "256x256", "num_inference_steps": 150}
    before = live.status().counters
    arguments = ["-sN", "--noproxy", "*", *JSON, "-d", json.dumps(fields), live.http + path]
    with subprocess.Popen([need("curl"), *arguments], stdout=subprocess.DEVNULL) as process:
        until(lambda: live.status().queue.running == 1)
        time.sleep(0.3)
        process.kill()
    freed_s = until(lambda: live.is_idle)
    assert live.status().counters.cancelled == before.cancelled + 1
    assert freed_s < 3  # 150 of these steps take several seconds


def test_server_sent_events(live: Live) -> None:
    answer = post(live, STREAM, {"prompt": "a fox", "num_inference_steps": 4}, "-N")
    names = [line[7:] for line in answer.body.decode().splitlines() if line.startswith("event: ")]
    assert names[-2:] == ["image", "done"]
    assert "progress" in names


def test_probes_metrics_and_the_openapi_document(live: Live) -> None:
    assert curl(live.http + "/healthz").status == 200
    assert curl(live.http + "/readyz").json == {"status": "serving"}
    assert b"text2image_ready 1.0" in curl(live.http + "/metrics").body
    assert GENERATE in curl(live.http + "/openapi.json").json["paths"]
    assert post(live, STATUS, {}).json["state"] == "STATE_READY"
