"""buf curl: gRPC by reflection, and Connect with the contract's file."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.interop.live import ROOT, Live

BUF = Path(sys.executable).parent / "buf"
SERVICE = "text2image.Text2ImageService"
GRPC = ("--protocol", "grpc", "--http2-prior-knowledge")
CONNECT = ("--protocol", "connect", "--schema", str(ROOT / "proto"))
INVALID_ARGUMENT = 24  # buf: 8 times the gRPC code

pytestmark = pytest.mark.e2e


def buf_curl(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(BUF), "curl", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def answers(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The JSON values on standard output."""
    assert result.returncode == 0, result.stderr
    decoder, text, found = json.JSONDecoder(), result.stdout.strip(), []
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].strip()
    return found


@pytest.fixture(params=["grpc", "connect"])
def call(request: pytest.FixtureRequest, live: Live) -> Any:
    """Calls an rpc with fields, over one of both protocols."""
    base = live.http if request.param == "connect" else f"http://{live.address}"
    flags = CONNECT if request.param == "connect" else GRPC

    def call_rpc(method: str, **fields: Any) -> subprocess.CompletedProcess[str]:
        return buf_curl(*flags, "-d", json.dumps(fields), f"{base}/{SERVICE}/{method}")

    return call_rpc


def test_a_refusal_has_its_code_and_its_details(call: Any) -> None:
    result = call("GenerateImage", prompt=" ")
    assert result.returncode == INVALID_ARGUMENT
    error = json.loads(result.stderr)
    assert error["code"] == "invalid_argument"
    assert error["details"][0]["type"] == "google.rpc.BadRequest"


def test_unary(call: Any) -> None:
    [answer] = answers(call("GenerateImage", prompt="a fox", numInferenceSteps=3))
    assert base64.b64decode(answer["images"][0]["data"]).startswith(b"\x89PNG")


def test_stream(call: Any) -> None:
    events = answers(call("StreamGenerateImage", prompt="a fox", numInferenceSteps=3))
    assert "done" in events[-1]
    assert any("progress" in event for event in events)


def test_status(call: Any) -> None:
    [status] = answers(call("GetStatus"))
    assert status["state"] == "STATE_READY"


def test_the_services_are_listed_by_reflection(live: Live) -> None:
    result = buf_curl(*GRPC, "--list-services", f"http://{live.address}")
    assert SERVICE in result.stdout.split()


def test_health_by_reflection(live: Live) -> None:
    url = f"http://{live.address}/grpc.health.v1.Health/Check"
    [answer] = answers(buf_curl(*GRPC, "-d", json.dumps({"service": SERVICE}), url))
    assert answer == {"status": "SERVING"}
