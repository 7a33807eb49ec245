"""Callers of all kinds for a long time, and what they leave behind: `make soak` (an hour).

`python -m bench.soak [--seconds 3600]` starts a backend with the embedded model. Callers ask for
pictures over gRPC, OpenAI's and A1111's API, leave in the middle, set deadlines that pass, and send
what is refused. Exits with 1 where memory, descriptors or threads grow, where a request is not
accounted for, or where the same request no longer gives the same picture.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import psutil

from backend.engine.calibration import PAUSES_S
from bench.held import POOL_THREADS, Held, held_by
from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc as pb_grpc
from tests.support.ports import free_port
from tests.support.process import BackendProcess
from tests.support.worst_inputs import INPUTS

CALLERS: Final = 12
STEPS: Final = 8
DEADLINE_S: Final = 0.05
WARMING: Final = 0.2  # share of the time until caches are as full as they get
MOST_GROWTH: Final = 0.05
SPARE_BYTES: Final = (
    32 * 2**20
)  # several large bodies at once, which a short run may not meet in time
SETTLED_S: Final = 300.0
REST_S: Final = 3.0 + max(PAUSES_S)  # calibration compiles networks, and pauses in between
AT_REST: Final = 0.1  # share of a core
EXPIRY_S: Final = 3.0
REPORT_S: Final = 30.0
NOTHING: Final = Held(0, 0, 0)
PROMPTS: Final = ("a red apple", "two cats", "a fox at night", "a wizard", "ein grünes Auto")
REFUSED: Final = ("names nobody knows", "6 MB of commas", "4 MB that are no picture")


@dataclass
class Found:
    """What was seen, by kind of call and answer."""

    answers: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    before: Held = NOTHING
    after: Held = NOTHING

    def __str__(self) -> str:
        answers = [f"{number:7} {kind}" for kind, number in sorted(self.answers.items())]
        held = [
            f"{what}: {before:,} before, {after:,} after"
            for what, before, after in zip(Held._fields, self.before, self.after, strict=True)
        ]
        return "\n".join([*answers, *held, *self.problems])


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0)
    seconds = parser.parse_args(arguments).seconds
    with tempfile.TemporaryDirectory() as place:
        found = soak(Path(place), seconds)
    print(found)
    return bool(found.problems)


def soak(place: Path, seconds: float, module: str = "backend", rest_s: float = REST_S) -> Found:
    """Let callers at a backend of its own.

    Args:
        place: an empty folder.
        seconds: how long they call, in all.
        module: as BackendProcess has it.
        rest_s: how long the backend has to compute nothing before it is measured.
    """
    log, data = place / "log", place / "data"
    with BackendProcess(
        log, module, HTTP_PORT=free_port(), DATA_DIR=data, RESULT_TTL_S=1
    ) as backend:
        backend.wait_ready()
        return asyncio.run(_soak(backend, seconds, rest_s))


async def _soak(backend: BackendProcess, seconds: float, rest_s: float) -> Found:
    found = Found()
    await at_rest(backend, rest_s)
    expected = await reference(backend)
    await one_of_each(backend)
    await callers(backend, seconds * WARMING, found)
    found.before = await held(backend, rest_s)
    await callers(backend, seconds * (1 - WARMING), found)
    found.after = await held(backend, rest_s)
    if await reference(backend) != expected:
        found.problems.append("the same request gives another picture")
    found.problems += growth(found) + await unaccounted(backend)
    return found


async def reference(backend: BackendProcess) -> bytes:
    request = pb.GenerateImageRequest(prompt="a red apple", seed=1, num_inference_steps=STEPS)
    async with grpc.aio.insecure_channel(backend.address) as channel:
        answer = await pb_grpc.Text2ImageServiceStub(channel).GenerateImage(request)
    return bytes(answer.images[0].data)


async def one_of_each(backend: BackendProcess) -> None:
    """Call in every way once, so that what a first call brings is there."""
    for call in (*CALLS.values(), *(refusing(name) for name in REFUSED)):
        await connected(backend, call, random.Random(0))


async def callers(backend: BackendProcess, seconds: float, found: Found) -> None:
    """Call in all kinds of ways, each caller on connections of its own."""
    end = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        chance = random.Random(number)
        while time.perf_counter() < end:
            kind = chance.choice([*CALLS])
            found.answers[f"{kind}: {await connected(backend, CALLS[kind], chance)}"] += 1

    async def report() -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            memory = held_by(backend.process.pid).resident_bytes / 2**20
            print(f"{found.answers.total()} calls, {memory:.0f} MiB", flush=True)

    reporting = asyncio.create_task(report())
    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    reporting.cancel()


async def connected(backend: BackendProcess, call: Call, chance: random.Random) -> str:
    """The call's answer, over a new connection."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    address = f"http://127.0.0.1:{backend.http_port}"
    async with (
        grpc.aio.insecure_channel(backend.address, options) as channel,
        httpx.AsyncClient(base_url=address, timeout=120, trust_env=False) as http,
    ):
        try:
            return await call(channel, http, chance)
        except grpc.aio.AioRpcError as error:
            return error.code().name


Call = Callable[[Any, httpx.AsyncClient, random.Random], Awaitable[str]]


def asked(chance: random.Random) -> pb.GenerateImageRequest:
    count = chance.choice((1, 1, 2))
    prompt = chance.choice(PROMPTS)
    return pb.GenerateImageRequest(prompt=prompt, num_inference_steps=STEPS, num_images=count)


async def picture(channel: Any, _http: httpx.AsyncClient, chance: random.Random) -> str:
    answer = await pb_grpc.Text2ImageServiceStub(channel).GenerateImage(asked(chance))
    return f"{len(answer.images)} pictures"


async def left(channel: Any, _http: httpx.AsyncClient, chance: random.Random) -> str:
    call = pb_grpc.Text2ImageServiceStub(channel).StreamGenerateImage(asked(chance))
    for _ in range(chance.randrange(1, STEPS)):
        await call.read()
    call.cancel()
    return "left"


async def too_late(channel: Any, _http: httpx.AsyncClient, chance: random.Random) -> str:
    stub = pb_grpc.Text2ImageServiceStub(channel)
    await stub.GenerateImage(asked(chance), timeout=DEADLINE_S)
    return "in time"


async def openai(_channel: Any, http: httpx.AsyncClient, chance: random.Random) -> str:
    body = {"prompt": chance.choice(PROMPTS), "steps": STEPS}
    answer = await http.post("/v1/images/generations", json=body)
    return str(answer.status_code)


async def openai_left(_channel: Any, http: httpx.AsyncClient, chance: random.Random) -> str:
    body = {"prompt": chance.choice(PROMPTS), "steps": STEPS, "stream": True, "partial_images": 2}
    async with http.stream("POST", "/v1/images/generations", json=body) as answer:
        with contextlib.suppress(StopAsyncIteration):
            await anext(answer.aiter_bytes())
        return f"{answer.status_code}, left"


async def a1111(_channel: Any, http: httpx.AsyncClient, chance: random.Random) -> str:
    body = {"prompt": chance.choice(PROMPTS), "steps": STEPS, "sampler_name": "Euler"}
    return str((await http.post("/sdapi/v1/txt2img", json=body)).status_code)


async def status(channel: Any, http: httpx.AsyncClient, _chance: random.Random) -> str:
    await pb_grpc.Text2ImageServiceStub(channel).GetStatus(pb.GetStatusRequest())
    return str((await http.get("/readyz")).status_code)


async def refused(channel: Any, http: httpx.AsyncClient, chance: random.Random) -> str:
    return await INPUTS[chance.choice(REFUSED)](channel, http)


def refusing(name: str) -> Call:
    return lambda channel, http, _chance: INPUTS[name](channel, http)


CALLS: Final[dict[str, Call]] = {
    "gRPC": picture,
    "gRPC, left in the middle": left,
    "gRPC, too late": too_late,
    "OpenAI": openai,
    "OpenAI's stream, left in the middle": openai_left,
    "A1111": a1111,
    "status": status,
    "refused": refused,
}


async def held(backend: BackendProcess, rest_s: float) -> Held:
    """What the process holds once nothing runs and kept results have expired."""
    end = time.perf_counter() + SETTLED_S
    while (told := await counted(backend)).queue.queued or told.queue.running:
        if time.perf_counter() > end:
            raise TimeoutError("requests that nobody waits for still run")
        await asyncio.sleep(0.2)
    await asyncio.sleep(EXPIRY_S)
    await at_rest(backend, rest_s)
    return held_by(backend.process.pid)


async def at_rest(backend: BackendProcess, seconds: float) -> None:
    """Wait until the process has computed nothing for so long, not even in idle time."""
    process, end = psutil.Process(backend.process.pid), time.perf_counter() + SETTLED_S
    while True:
        before = sum(process.cpu_times()[:2])
        await asyncio.sleep(seconds)
        if sum(process.cpu_times()[:2]) - before < seconds * AT_REST:
            return
        if time.perf_counter() > end:
            raise TimeoutError("it computes, though nobody asks for anything")


async def counted(backend: BackendProcess) -> Any:
    async with grpc.aio.insecure_channel(backend.address) as channel:
        return await pb_grpc.Text2ImageServiceStub(channel).GetStatus(pb.GetStatusRequest())


def growth(found: Found) -> list[str]:
    before, after = found.before, found.after
    most_bytes = int(before.resident_bytes * (1 + MOST_GROWTH)) + SPARE_BYTES
    most = Held(most_bytes, before.descriptors, before.threads + POOL_THREADS)
    return [
        f"{what} grew from {was:,} to {now:,}"
        for what, was, now, bound in zip(Held._fields, before, after, most, strict=True)
        if now > bound
    ]


async def unaccounted(backend: BackendProcess) -> list[str]:
    counters = (await counted(backend)).counters
    ended = counters.completed + counters.failed + counters.cancelled + counters.rejected
    problems = []
    if counters.received != ended:
        problems.append(f"{counters.received} requests received, {ended} accounted for")
    if counters.failed:
        problems.append(f"{counters.failed} requests failed")
    return problems


if __name__ == "__main__":
    sys.exit(main())
