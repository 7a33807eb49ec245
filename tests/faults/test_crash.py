"""A backend that dies in the middle of its work, comes back, and is told to stop."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from client import Generation, Progress, Text2ImageClient, Unavailable
from tests.support.process import BackendProcess

pytestmark = [pytest.mark.e2e]

LONG = 150  # steps


def test_killed_restarted_retried_and_drained(tiny_model: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "MODEL": tiny_model, "RUNTIME": "torch", "DTYPE": "float32", "DATA_DIR": tmp_path,
    }  # fmt: skip
    with BackendProcess(tmp_path / "first.log", **settings) as first:
        first.wait_ready()
        settings["PORT"] = first.port
        with Text2ImageClient(first.address) as client:
            told_after_s = kill_while_it_generates(first, client)
            assert told_after_s < 15  # by the closed connection; keepalive would take longer
            with pytest.raises(Unavailable):
                client.status(timeout=5)
            with BackendProcess(tmp_path / "second.log", **settings) as second:
                second.wait_ready()
                assert_retry_draws_the_same_seed(client)
                assert_drained(second, client)


def kill_while_it_generates(backend: BackendProcess, client: Text2ImageClient) -> float:
    """Seconds from the kill until the client knew."""
    with client.stream("a cat", request_id="mine", num_inference_steps=LONG) as stream:
        events = iter(stream)
        while not (isinstance(event := next(events), Progress) and event.step >= 3):
            pass
        backend.process.kill()
        killed = time.monotonic()
        with pytest.raises(Unavailable):
            deque(events, maxlen=0)
    backend.process.wait()
    return time.monotonic() - killed


def assert_retry_draws_the_same_seed(client: Text2ImageClient) -> None:
    """The id decides over the drawn seed, though nothing of the first try is left."""
    first = client.generate("a cat", request_id="mine", num_inference_steps=3)
    again = client.generate("a cat", request_id="mine", num_inference_steps=3)
    other = client.generate("a cat", request_id="other", num_inference_steps=3)
    assert first.images == again.images
    assert first.images[0].seed != other.images[0].seed
    assert client.status().counters.completed == 2


def assert_drained(backend: BackendProcess, client: Text2ImageClient) -> None:
    """With a Watch open: what runs is answered, and the process is gone soon after."""
    with ThreadPoolExecutor(1) as pool, grpc.insecure_channel(backend.address) as channel:
        watched: list[int] = []
        watch = watch_health(channel, watched)
        running = pool.submit(client.generate, "a dog", num_inference_steps=60)
        until(lambda: client.status().queue.running == 1)
        backend.process.send_signal(signal.SIGTERM)
        generation: Generation = running.result(60)
        answered = datetime.now(UTC)
        assert len(generation.images) == 1
        assert backend.process.wait(60) == 0, backend.log.read_text("utf-8")
        stopped = datetime.fromisoformat(backend.event("stopped")["timestamp"])
        assert stopped - answered < timedelta(seconds=10)  # and not the whole drain time
        watch.join(10)
        assert watched[-1] == health_pb2.HealthCheckResponse.NOT_SERVING
    assert "Traceback" not in backend.log.read_text("utf-8")


def watch_health(channel: grpc.Channel, watched: list[int]) -> threading.Thread:
    """Collect the health states until the server closes."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service="text2image.Text2ImageService")
    answers = stub.Watch(request)

    def collect() -> None:
        with suppress(grpc.RpcError):  # the server is gone
            for answer in answers:
                watched.append(answer.status)

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    return thread


def until(condition: Any, timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
