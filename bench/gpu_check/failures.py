"""Checks starting and failing of the backend, in separate processes over gRPC."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from backend.model.devices import pick_device
from bench.gpu_check.stage import Bench, Found, draw
from client import DeadlineExceeded, ModelFailed, State, Text2ImageClient, Text2ImageError

START_S = 120.0
LOSES_ITS_DEVICE = """
import sys, torch
from backend import __main__ as program
from backend.model.pipeline import LatentDiffusion
step = LatentDiffusion.denoise_step
def broken(self, trajectories):
    if trajectories[0].seed == 666:
        torch._assert_async(torch.zeros(1, device=self.runtime.device))
    return step(self, trajectories)
LatentDiffusion.denoise_step = broken
sys.exit(program.main([]))
"""


@contextmanager
def server(
    bench: Bench, *command: str, **settings: Any
) -> Iterator[tuple[subprocess.Popen[bytes], Text2ImageClient]]:
    """A backend in its own process, and a client of it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = {
        "PORT": port,
        "HTTP_PORT": 0,
        "DEVICE": bench.device,
        "RUNTIME": "torch",
        "SAFETY_CHECKER": 0,
        "DATA_DIR": bench.scratch / "served",
        "LOG_LEVEL": "error",
    }
    ours = {f"TEXT2IMAGE_{name}": str(value) for name, value in (given | settings).items()}
    clean = {name: value for name, value in os.environ.items() if "TEXT2IMAGE_" not in name}
    process = subprocess.Popen([sys.executable, *(command or ("-m", "backend"))], env=clean | ours)
    try:
        with Text2ImageClient(f"127.0.0.1:{port}") as client:
            yield process, client
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(30)


def wait_ready(process: subprocess.Popen[bytes], client: Text2ImageClient) -> None:
    """Wait until the backend can draw.

    Raises:
        RuntimeError: it ended instead.
        DeadlineExceeded: it takes longer than START_S.
    """
    deadline_s = time.perf_counter() + START_S
    while True:
        try:
            return client.wait_ready(2.0)
        except DeadlineExceeded:
            if process.poll() is not None:
                raise RuntimeError(f"the backend ended with exit code {process.poll()}") from None
            if time.perf_counter() > deadline_s:
                raise


def first_picture(bench: Bench) -> Iterator[Found]:
    """Time from process start to the first picture, with weights in the page cache."""
    folder = bench.large_folder()
    started = time.perf_counter()
    with server(bench, MODEL=folder) as (process, client):
        wait_ready(process, client)
        ready_s = time.perf_counter() - started
        client.generate("a red apple", num_inference_steps=bench.steps)
        first_s = time.perf_counter() - started
    yield Found("start to READY, s", round(ready_s, 1))
    yield Found("start to first picture, s", round(first_s, 1), "<= 20", first_s <= 20)


def too_large(bench: Bench) -> Iterator[Found]:
    """With little memory the backend starts, refuses what doesn't fit, and keeps working."""
    limits: dict[str, Any] = {"MODEL": bench.embedded_folder, "MAX_PIXELS": 1 << 24}
    if pick_device(bench.settings()).type == "cuda":
        limits["GPU_MEMORY_FRACTION"] = 0.01
    with server(bench, **limits) as (process, client):
        wait_ready(process, client)
        state = client.status().state
        yield Found("state with little memory", state.name, "READY", state is State.READY)
        if "GPU_MEMORY_FRACTION" in limits:
            try:
                client.generate("a red apple", height=2048, width=2048, num_inference_steps=1)
                answer = "a picture"
            except Text2ImageError as error:
                answer = str(error)
            is_told = "memory" in answer
            yield Found("what does not fit", answer, "out of memory", is_told)
        images = client.generate("a red apple", num_inference_steps=2).images
        yield Found("the next that fits", len(images), "1", len(images) == 1)


def lost_device(bench: Bench) -> Iterator[Found]:
    """After a failing kernel the process reports the lost device and exits."""
    if pick_device(bench.settings()).type != "cuda":
        yield Found("a lost device", "not checked", "needs CUDA")
        return
    with server(bench, "-c", LOSES_ITS_DEVICE, MODEL=bench.embedded_folder) as (process, client):
        wait_ready(process, client)
        try:
            client.generate("a red apple", seed=666, num_inference_steps=4)
        except Text2ImageError as error:
            yield Found("the request that lost it", str(error))
        lost_at_s = time.perf_counter()
        try:
            told = client.status().state
            yield Found("state", told.name, "FAILED", told is State.FAILED)
        except (ModelFailed, Text2ImageError) as error:
            yield Found("state", str(error), "FAILED", False)
        code = process.wait(30)
        took_s = time.perf_counter() - lost_at_s
        yield Found("exit code", code, "3", code == 3)
        yield Found("ended after, s", round(took_s, 1), "<= 5", took_s <= 5)


def second_device(bench: Bench) -> Iterator[Found]:
    """The same on a second GPU, if there is one."""
    if not torch.cuda.is_available() or torch.cuda.device_count() < 2:
        yield Found("cuda:1", "not checked", "needs two GPUs")
        return
    model = bench.load(bench.embedded_folder, device="cuda:1")
    picture = draw(model, bench.params(model, 1))
    yield Found("a picture on cuda:1", str(picture.shape), "", bool(picture.any()))
