"""A refusal never costs more than the request: neither time that others need, nor memory."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.ports import free_port
from tests.support.process import ROOT, BackendProcess
from tests.support.worst_inputs import INPUTS

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

SECONDS = 6.0
# Of the median; the cores are the attackers', too.
HEALTH_S = 0.1
LONGEST_S = 2.0
ALLOWED_CODES = {"INVALID_ARGUMENT", "OK", "400", "401", "413", "429"}


def attack(backend: BackendProcess, seconds: float) -> subprocess.Popen[str]:
    addresses = [backend.address, f"127.0.0.1:{backend.http_port}"]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.worst_inputs", *addresses, str(seconds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def health_while(process: subprocess.Popen[str], backend: BackendProcess) -> list[float]:
    """Seconds that each probe took, HTTP's and gRPC's in turn, until the process ends."""
    took = []
    request = health_pb2.HealthCheckRequest()
    with grpc.insecure_channel(backend.address) as channel, httpx.Client(trust_env=False) as http:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        while process.poll() is None:
            started = time.perf_counter()
            http.get(f"http://127.0.0.1:{backend.http_port}/healthz", timeout=30)
            took.append(time.perf_counter() - started)
            started = time.perf_counter()
            stub.Check(request, timeout=30)
            took.append(time.perf_counter() - started)
            time.sleep(0.02)
    return took


def answers_of(process: subprocess.Popen[str]) -> dict[str, int]:
    output, _ = process.communicate()
    assert process.returncode == 0
    return dict(json.loads(output))


def memory_of(backend: BackendProcess) -> int:
    return int(psutil.Process(backend.process.pid).memory_info().rss)


def memory_after(backend: BackendProcess, wanted: float) -> int:
    """Once it is as low as wanted, or after ten seconds."""
    end = time.monotonic() + 10
    while memory_of(backend) > wanted and time.monotonic() < end:
        time.sleep(0.2)
    return memory_of(backend)


def test_the_worst_inputs_of_eight_clients_leave_health_prompt_and_memory_as_it_was(
    tmp_path: Path,
) -> None:
    module = "tests.support.fake_backend"
    with BackendProcess(tmp_path / "log", module, HTTP_PORT=free_port()) as backend:
        backend.wait_ready()
        answers_of(attack(backend, 2.0))  # buffers grow to what a first time needs
        before = memory_of(backend)
        process = attack(backend, SECONDS)
        took = health_while(process, backend)
        answers = answers_of(process)
        after = memory_after(backend, 1.05 * before)
        median, longest = statistics.median(took), max(took)
        print(f"{len(took)} probes: median {median:.3f} s, longest {longest:.3f} s")
        print(f"memory: {before >> 20} MB before, {after >> 20} MB after")
        assert {answer.rpartition(": ")[2] for answer in answers} <= ALLOWED_CODES, answers
        assert {answer.rpartition(": ")[0] for answer in answers} == set(INPUTS)
        assert median <= HEALTH_S
        assert longest <= LONGEST_S
        assert after <= 1.05 * before
