"""Clients of the Node world: grpc-js, reflection as Postman uses it, and the browser's Connect."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.interop.live import ROOT, Live, until
from tests.interop.recorded_a1111 import SDCPP, SILLYTAVERN
from tests.support.needs import need

NODE = Path(__file__).parent / "node"
PROGRAMS = ROOT / "build/programs"

pytestmark = [pytest.mark.node, pytest.mark.e2e]


def run(script: str, *arguments: str) -> list[str]:
    """Run a script of ours around a client of theirs; its lines that say ok."""
    command = [need("nodejs"), str(NODE / script), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.split("\n")[:-1]


def test_grpc_js(live: Live) -> None:
    cancelled = live.status().counters.cancelled
    checks = run("grpc_js.mjs", live.address)
    assert checks == [
        f"ok {n}" for n in ("unaryCall", "stream", "cancel", "deadline", "errorDetails")
    ]
    until(lambda: live.is_idle)
    assert live.status().counters.cancelled == cancelled + 2


def test_reflection_as_postman_uses_it(live: Live) -> None:
    checks = run("reflection.mjs", live.address)
    assert checks == ["ok listServices", "ok listMethods", "ok GenerateImage"]


def test_connect_web(live: Live) -> None:
    cancelled = live.status().counters.cancelled
    assert run("connect_web.mjs", live.http) == ["ok json", "ok proto"]
    until(lambda: live.is_idle)
    assert live.status().counters.cancelled == cancelled + 4


def test_mcp_sdk(live: Live) -> None:
    cancelled = live.status().counters.cancelled
    assert run("mcp.mjs", f"{live.http}/mcp") == ["ok tools", "ok picture", "ok edit", "ok cancel"]
    until(lambda: live.is_idle)
    assert live.status().counters.cancelled == cancelled + 1


def test_openai(live: Live) -> None:
    checks = run("openai_images.mjs", live.http)
    assert checks == [f"ok {n}" for n in ("models", "generate", "url", "stream", "refusal")]


@pytest.mark.skipif(
    not (PROGRAMS / "node_modules/sillytavern").is_dir(),
    reason="needs scripts/interop-programs: make interop",
)
def test_sillytavern(live: Live) -> None:
    counters = live.status().counters
    bodies = [json.dumps(program.calls[-1].body) for program in (SILLYTAVERN, SDCPP)]
    checks = run("../programs/sillytavern.mjs", str(PROGRAMS), live.http, *bodies)
    assert checks == [f"ok {n}" for n in ("menus", "generate", "sdcpp", "leave")]
    until(lambda: live.is_idle)
    after = live.status().counters
    assert after.completed == counters.completed + 2
    assert after.cancelled == counters.cancelled + 1
