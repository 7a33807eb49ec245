"""Measurements from outside over gRPC: throughput, start, memory, status."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil

from backend.config import Settings
from bench.figures import percentile
from bench.prompts import prompt
from bench.rows import Row
from client import Text2ImageClient
from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc as pb_grpc

ROOT = Path(__file__).parent.parent
START_S = 300.0
ANSWER_S = 600.0
WARMING = 300  # requests until a process has all its threads and buffers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def backend(folder: str | None, **settings: object) -> Iterator[tuple[Text2ImageClient, int]]:
    """`python -m backend` in its own process; yields a client and the process id."""
    port = free_port()
    values = {
        "PORT": port,
        "HTTP_PORT": 0,
        "SAFETY_CHECKER": "false",
        "LOG_LEVEL": "error",
        "MAX_QUEUE": 10_000,
        **({"MODEL": folder} if folder else {}),
        **settings,
    }
    environment = os.environ | {f"TEXT2IMAGE_{key}": str(value) for key, value in values.items()}
    process = subprocess.Popen([sys.executable, "-m", "backend"], cwd=ROOT, env=environment)
    try:
        with Text2ImageClient(f"127.0.0.1:{port}") as client:
            yield client, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()


def closed_loop(draw: Callable[[int], None], concurrency: int, pictures: int) -> float:
    """Pictures per second with `concurrency` callers, each requesting again when served."""
    with ThreadPoolExecutor(concurrency) as callers:
        list(callers.map(draw, range(concurrency)))  # everyone is connected, all is warm
        started = time.perf_counter()
        list(callers.map(draw, range(pictures)))
        return pictures / (time.perf_counter() - started)


def rates_of(
    draw: Callable[[int], None], concurrencies: Sequence[int], pictures: int
) -> dict[int, float]:
    """Pictures per second, by the number of callers."""
    return {callers: closed_loop(draw, callers, pictures) for callers in concurrencies}


@contextlib.contextmanager
def ours(
    folder: str | None, steps: int, *, is_told: bool, **settings: object
) -> Iterator[Callable[[int], None]]:
    """Yields a function that requests one picture from our server over gRPC.

    `is_told`: stream every step; otherwise one answer, like the peers.
    """
    with (
        backend(folder, **settings) as (client, _),
        grpc.insecure_channel(client.address) as channel,
    ):
        stub = pb_grpc.Text2ImageServiceStub(channel)
        client.wait_ready(START_S)
        time.sleep(10)  # batches wait until they are compiled
        if is_told:
            yield lambda number: _ask(client, number, steps)
        else:
            yield lambda number: _ask_once(stub, number, steps)


def _ask(client: Text2ImageClient, number: int, steps: int) -> None:
    client.generate(prompt(number), num_inference_steps=steps)


def _ask_once(stub: pb_grpc.Text2ImageServiceStub, number: int, steps: int) -> None:
    stub.GenerateImage(
        pb.GenerateImageRequest(prompt=prompt(number), num_inference_steps=steps),
        timeout=ANSWER_S,
    )


def status_latency(folder: str | None, callers: int, pictures: int, steps: int) -> Row:
    """P11: latency of GetStatus while all callers generate."""
    with backend(folder) as (client, _):
        client.wait_ready(START_S)
        stop, asked = threading.Event(), []

        def ask() -> None:
            while not stop.is_set():
                started = time.perf_counter()
                client.status()
                asked.append((time.perf_counter() - started) * 1000)
                time.sleep(0.05)

        asker = threading.Thread(target=ask)
        asker.start()
        closed_loop(lambda number: _ask(client, number, steps), callers, pictures)
        stop.set()
        asker.join()
    slowest = percentile(asked, 0.99)
    return Row(
        "P11",
        f"GetStatus p99 with {callers} callers generating",
        "≤ 20 ms",
        f"{slowest:.1f} ms (p50 {percentile(asked, 0.5):.1f} ms, {len(asked)} calls)",
        slowest <= 20.0,
    )


def start_to_picture(folder: str | None, rounds: int = 3) -> Row:
    """P9: time from process start to the first picture, with warm caches."""
    took = []
    for number in range(rounds + 1):
        started = time.perf_counter()
        with backend(folder) as (client, _):
            client.wait_ready(START_S)
            client.generate("a red apple", seed=number)
            took.append(time.perf_counter() - started)
    warm = sorted(took[1:])
    middle = warm[len(warm) // 2]
    return Row(
        "P9",
        "process start to first picture, warm cache",
        "≤ 8 s",
        f"{middle:.1f} s (of {rounds}: {', '.join(f'{one:.1f}' for one in warm)})",
        middle <= 8.0,
    )


def memory(folder: str | None, requests: int = 2000, callers: int = 8) -> Row:
    """P10: growth of resident memory over `requests` requests.

    Results are kept for a while for callers who ask again. So the first phase, in which they only
    accumulate, is not counted; any growth after that is a leak.
    """
    numbers = itertools.count()
    with (
        backend(folder) as (client, pid),
        ThreadPoolExecutor(callers) as pool,
    ):
        client.wait_ready(START_S)
        resident = psutil.Process(pid).memory_info

        def draw(_: int) -> None:
            _ask(client, next(numbers), steps=1)

        list(pool.map(draw, range(max(WARMING, requests // 10))))
        warm = resident().rss
        until = time.perf_counter() + Settings().result_ttl_s
        while time.perf_counter() < until:
            list(pool.map(draw, range(WARMING)))
        before, filling = resident().rss, next(numbers)
        list(pool.map(draw, range(requests)))
        after = resident().rss
    growth = after / before - 1
    return Row(
        "P10",
        f"resident memory growth over {requests} requests",
        "< 2 %",
        f"{growth:+.1%} ({before / 2**20:.0f} to {after / 2**20:.0f} MiB; "
        f"{warm / 2**20:.0f} before {filling} results were kept)",
        growth < 0.02,
    )
