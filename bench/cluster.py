"""What a cluster costs and gains on this machine: `python -m bench.cluster`, a few minutes.

Replicas run on a Ray cluster that is started here. Models only sleep, or do nothing at all, so that
the front door and not the arithmetic is measured.
"""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import grpc

from backend import logs
from backend.cluster.backend import RayBackend
from backend.cluster.launcher import RayLauncher
from backend.cluster.replica import LoadOf
from backend.config import Settings
from backend.domain import FinishedImage, State
from backend.engine.backend import LocalBackend
from backend.engine.protocols import Backend
from backend.transport.rpc.server import Server
from backend.version import VERSION
from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc as pb_grpc
from tests.support.fakes import fake_draft
from tests.support.ray_models import at_once, noisy, sleepers

import ray  # isort: skip  # after the launcher, which sets what it reads

STEPS = 10
PICTURES = 30
TURNS = 3
DRIVE_S = 8.0
CALLERS = 16
LONG = 150  # steps of a request that is left or lost


class Loop(NamedTuple):
    """A closed loop: pictures per second, and milliseconds of each."""

    rate: float
    latencies_ms: list[float]

    @property
    def p50_ms(self) -> float:
        return statistics.median(self.latencies_ms)


def settings(**changes: object) -> Settings:
    given: dict[str, object] = {"port": 0, "http_port": 0, "num_threads": 1, "max_queue": 1000}
    return Settings(**(given | changes))  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


@asynccontextmanager
async def local(load_of: LoadOf) -> AsyncIterator[LocalBackend]:
    backend = LocalBackend(settings(), load_of(settings()), VERSION)
    await backend.start()
    yield backend
    await backend.stop()


@asynccontextmanager
async def replicas(count: int, load_of: LoadOf) -> AsyncIterator[RayBackend]:
    wanted = settings(replicas=count)
    backend = RayBackend(wanted, RayLauncher(wanted, VERSION, load_of), VERSION)
    await backend.start()
    await until(lambda: states(backend) == [State.READY] * count)
    yield backend
    handles = [member.handle for member in backend.fleet.members]
    await backend.stop()
    await asyncio.gather(*(handle.leave() for handle in handles))


def states(backend: RayBackend) -> list[State]:
    return [replica.state for replica in backend.status().replicas]


def pids(backend: RayBackend) -> list[int]:
    members = backend.fleet.members
    return [member.report.pid for member in members if member.report is not None]


async def closed_loop(backend: Backend, callers: int, pictures: int) -> Loop:
    """Each caller asks for its next picture when it has one."""
    latencies_ms: list[float] = []
    numbers = iter(range(pictures))

    async def call() -> None:
        for number in numbers:
            draft = fake_draft("x", request_id=f"r{number}-{time.perf_counter_ns()}",
                               num_inference_steps=STEPS)  # fmt: skip
            began_s = time.perf_counter()
            async for _ in backend.submit(draft, client="bench", deadline_s=None):
                pass
            latencies_ms.append((time.perf_counter() - began_s) * 1000)

    began_s = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    return Loop(pictures / (time.perf_counter() - began_s), latencies_ms)


async def overhead() -> None:
    """One engine in this process, and one behind the front, by turns."""
    here, there, added_ms = list[Loop](), list[Loop](), list[float]()
    async with local(sleepers) as one, replicas(1, sleepers) as other:
        for _ in range(TURNS):
            here.append(await closed_loop(one, 2, PICTURES))
            there.append(await closed_loop(other, 2, PICTURES))
            alone = [(await closed_loop(backend, 1, PICTURES)).p50_ms for backend in (one, other)]
            added_ms.append(alone[1] - alone[0])
    ratio = statistics.median(b.rate / a.rate for a, b in zip(here, there, strict=True))
    told(f"one replica ÷ one engine in the process, pictures/s, two callers: {ratio:.2f}")
    told(f"added latency of a lone request, p50: {statistics.median(added_ms):.1f} ms")


async def two() -> None:
    """Two replicas, and one of them left out, by turns."""
    ratios = []
    async with replicas(2, sleepers) as backend:
        for _ in range(TURNS):
            double = await closed_loop(backend, 4, 2 * PICTURES)
            backend.fleet.members[1].is_leaving = True
            single = await closed_loop(backend, 4, PICTURES)
            backend.fleet.members[1].is_leaving = False
            ratios.append(double.rate / single.rate)
    told(f"two replicas ÷ one, pictures/s, four callers: {statistics.median(ratios):.2f}")


async def losses() -> None:
    async with replicas(2, sleepers) as backend:
        took_ms = [await leave(backend, number) for number in range(20)]
        told(f"a caller leaves → its replica is free, p50: {statistics.median(took_ms):.0f} ms, "
             f"worst of 20: {max(took_ms):.0f} ms (a step takes 20 ms)")  # fmt: skip
        await lose(backend, "killed", signal.SIGKILL)


async def leave(backend: RayBackend, number: int) -> float:
    """Leave a running request; milliseconds until no replica has anything to do."""
    draft = fake_draft("x", request_id=f"leave{number}", num_inference_steps=LONG)
    events = backend.submit(draft, client="bench", deadline_s=None)
    for _ in range(4):
        await anext(events)
    began_s = time.perf_counter()
    await events.aclose()
    handles = [member.handle for member in backend.fleet.members]
    while True:
        reports = [await handle.report(backend.fleet.front) for handle in handles]
        if not any(report.status.running + report.status.queued for report in reports):
            return (time.perf_counter() - began_s) * 1000


async def lose(backend: RayBackend, what: str, number: signal.Signals) -> None:
    """Lose the replica that draws; seconds until the picture, and until there are two again."""
    draft = fake_draft("x", request_id=what, num_inference_steps=STEPS)
    lost_s = 0.0
    async for event in backend.submit(draft, client="bench", deadline_s=None):
        busy = [m for m in backend.fleet.members if m.work and m.report is not None]
        if not lost_s and not isinstance(event, FinishedImage) and busy and busy[0].report:
            os.kill(busy[0].report.pid, number)
            lost_s = time.perf_counter()
    told(f"a replica is {what} → its picture from the other: {time.perf_counter() - lost_s:.2f} s")
    await until(lambda: states(backend) == [State.READY] * 2)
    told(f"… → two replicas again: {time.perf_counter() - lost_s:.1f} s")


async def front_door(load_of: LoadOf, name: str, steps: int, size: int) -> None:
    """As many requests as the front passes on, over gRPC, from another process."""
    async with replicas(1, load_of) as backend:
        server = Server(settings(), backend)
        port = await server.start()
        command = [sys.executable, "-m", "bench.cluster", "drive", str(port), str(steps), str(size)]
        driver = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        out, _ = await driver.communicate()
        told(f"front door, {name}, {CALLERS} callers: {out.decode().strip()}")
        await server.drain()


async def drive(port: int, steps: int, size: int) -> None:
    """The load: prints requests, events and MB per second."""
    requests = events = num_bytes = 0
    end_s = time.perf_counter() + DRIVE_S

    async def call(stub: pb_grpc.Text2ImageServiceStub, caller: int) -> None:
        nonlocal requests, events, num_bytes
        while time.perf_counter() < end_s:
            asked = pb.GenerateImageRequest(
                prompt="x", num_inference_steps=steps, height=size, width=size, seed=caller
            )
            async for event in stub.StreamGenerateImage(asked):
                events += 1
                num_bytes += len(event.image.image.data)
            requests += 1

    options = (("grpc.max_receive_message_length", -1),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        stub = pb_grpc.Text2ImageServiceStub(channel)
        await asyncio.gather(*(call(stub, caller) for caller in range(CALLERS)))
    print(f"{requests / DRIVE_S:.0f} requests/s, {events / DRIVE_S:.0f} events/s, "
          f"{num_bytes / DRIVE_S / 1e6:.1f} MB/s")  # fmt: skip


def told(line: str) -> None:
    print(f"- {line}", flush=True)


PARTS: dict[str, Callable[[], Awaitable[None]]] = {
    "overhead": overhead,
    "two": two,
    "losses": losses,
    "events": lambda: front_door(at_once, "a model that does nothing, 10 steps", 10, 64),
    "bytes": lambda: front_door(noisy, "one step, pictures of noise of 512 × 512", 1, 512),
}


async def main(parts: list[str]) -> None:
    logs.configure("console", "error")
    await asyncio.to_thread(start_ray)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    told(f"{os.cpu_count()} CPUs, load {load:.1f}, Python {platform.python_version()}, "
         f"Ray {ray.__version__}")  # fmt: skip
    for part in parts or PARTS:
        await PARTS[part]()
    await asyncio.to_thread(ray.shutdown)


def start_ray() -> None:
    ray.init(
        address="local",
        namespace="text2image",
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        logging_level="error",
        log_to_driver=False,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["drive"]:
        asyncio.run(drive(*map(int, sys.argv[2:5])))
    else:
        asyncio.run(main(sys.argv[1:]))
