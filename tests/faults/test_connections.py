"""Idle connections don't block others, even with the few descriptors that shells allow."""

from __future__ import annotations

import contextlib
import http.client
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.ports import free_port
from tests.support.process import ROOT, BackendProcess

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

DESCRIPTORS = 1024
IDLE, SLOW = 1500, 200
SECONDS = 9.0
HEALTH_S = 0.1
LONGEST_S = 1.0
REFUSED = 20  # one in so many: a probe that was kept from its core between connecting and sending


@contextlib.contextmanager
def crowd(port: int, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.support.many_connections"]
    process = subprocess.Popen(
        [*command, str(port), str(IDLE), str(SLOW), str(seconds)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    """With as few file descriptors as a shell's `ulimit -n 1024` leaves."""
    log = tmp_path_factory.mktemp("backend") / "log"
    module = "tests.support.fake_backend"
    with BackendProcess(log, module, max_descriptors=DESCRIPTORS, HTTP_PORT=free_port()) as running:
        running.wait_ready()
        yield running


def over_http(backend: BackendProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", backend.http_port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/readyz")
        assert connection.getresponse().status == 200


def over_grpc(backend: BackendProcess) -> None:
    """On a connection of its own, as a probe's."""
    request = health_pb2.HealthCheckRequest(service="text2image.Text2ImageService")
    options = (("grpc.use_local_subchannel_pool", 1),)
    with grpc.insecure_channel(backend.address, options) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(request, timeout=30)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise ConnectionError(error.details()) from error
            raise
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


@dataclass
class Took:
    """Seconds that probes took, each on a new connection."""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0

    def probe(self, call: Callable[[], None]) -> None:
        started = time.perf_counter()
        try:
            call()
        except ConnectionError:  # the port was full, or it was silent when others came
            self.refused += 1
        else:
            self.seconds.append(time.perf_counter() - started)

    def __str__(self) -> str:
        median, longest = statistics.median(self.seconds), max(self.seconds)
        return f"{len(self.seconds)} probes, median {median:.3f} s, longest {longest:.3f} s"


def stretch() -> float:
    """How many times as long everything takes, because others use the cores."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@pytest.mark.parametrize("flooded", ["http", "grpc"])
def test_idle_and_slow_connections_leave_health_prompt(
    backend: BackendProcess, flooded: str
) -> None:
    port = backend.http_port if flooded == "http" else backend.port
    http_took, grpc_took = Took(), Took()
    with crowd(port, SECONDS) as process:
        while process.poll() is None:
            http_took.probe(partial(over_http, backend))
            grpc_took.probe(partial(over_grpc, backend))
            time.sleep(0.05)
    times = stretch()
    print(
        f"{flooded} flooded, machine {times:.1f} times as slow: HTTP {http_took}; gRPC {grpc_took}"
    )
    for took in (http_took, grpc_took):
        assert took.refused <= max(1, len(took.seconds) // REFUSED)
        assert statistics.median(took.seconds) <= HEALTH_S * times
        assert max(took.seconds) <= LONGEST_S * times
