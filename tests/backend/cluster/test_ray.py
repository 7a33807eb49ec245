"""Replicas in processes of their own, on one small Ray cluster for the whole module."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from backend.cluster.backend import RayBackend
from backend.cluster.replica import LoadOf
from backend.domain import Done, Event, State
from backend.engine.backend import LocalBackend
from backend.errors import BackendError
from backend.startup import loader
from tests.support.fakes import fake_draft, images_of, settings
from tests.support.local_backend import answer, ask, assert_balanced, first_event
from tests.support.ray_models import STEP_S, sleepers

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra cluster is not installed"),
    pytest.mark.asyncio(loop_scope="module"),
]
MB = 2**20


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A cluster of this machine that ends with the module."""
    from backend.cluster import launcher  # first: it sets what Ray reads when it is imported

    import ray  # isort: skip

    folder = tempfile.mkdtemp(prefix="t2i-ray-")
    ray.init(
        address="local",
        namespace=launcher.NAMESPACE,
        num_cpus=4,
        object_store_memory=100 * MB,
        include_dashboard=False,
        logging_level="error",
        log_to_driver=bool(os.environ.get("SHOW_REPLICAS")),
        _temp_dir=folder,
    )
    yield launcher
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def front(
    ray: Any, load_of: LoadOf = sleepers, ends: bool = True, **changes: Any
) -> AsyncIterator[RayBackend]:
    """A front whose replicas are all ready; `ends`: they end with it."""
    wanted = settings(**({"replicas": 2} | changes))
    backend = RayBackend(wanted, ray.RayLauncher(wanted, "1.0", load_of), "1.0")
    await backend.start()
    try:
        await until(lambda: states(backend) == [State.READY] * wanted.replicas)
        yield backend
    finally:
        handles = [member.handle for member in backend.fleet.members]
        await backend.stop()
        if ends:
            await asyncio.gather(*(handle.leave() for handle in handles))


def states(backend: RayBackend) -> list[State]:
    return [replica.state for replica in backend.status().replicas]


def pids(backend: RayBackend) -> list[int]:
    return [member.report.pid for member in backend.fleet.members if member.report is not None]


async def until(condition: Any, timeout_s: float = 120.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def replies(backend: RayBackend) -> Counter[str]:
    """How many requests each replica has from anyone, and steps it has done."""
    reports = [member.report for member in backend.fleet.members if member.report is not None]
    found: Counter[str] = Counter()
    for report in reports:
        found["running"] += report.status.running + report.status.queued
        steps = {one.name: sum(one.counts) for one in report.status.histograms}
        found["steps"] += steps["step_seconds"]
    return found


class TestSleepers:
    """Models that only sleep. The replicas outlive each front, but for the last test's."""

    async def test_a_front_that_comes_back_finds_its_replicas(self, ray: Any) -> None:
        async with front(ray, ends=False) as backend:
            before = pids(backend)
            first = await answer(backend, fake_draft("x"))
        started_s = time.perf_counter()
        async with front(ray, ends=False) as backend:
            assert sorted(pids(backend)) == sorted(before)
            assert time.perf_counter() - started_s < 30
            again = await answer(backend, fake_draft("x"))
            assert backend.status().counters.completed == 1
        assert [one.image.data for one in images_of(first)] == [
            one.image.data for one in images_of(again)
        ]

    async def test_what_a_lost_front_had_begun_is_dropped(self, ray: Any) -> None:
        """It never says goodbye; the replicas notice its silence."""
        async with front(ray, ends=False) as backend:
            member = backend.fleet.ready[0]
            draft = fake_draft("x", num_inference_steps=150)
            stranger = member.handle.generate("a front that is gone", draft, "me", None)
            await anext(stranger)
            await member.handle.report("a front that is gone")
            await until(lambda: replies(backend)["running"] == 1)
            await until(lambda: replies(backend)["running"] == 0, timeout_s=60)
            await stranger.aclose()

    async def test_a_storm_of_cancels_leaves_nothing_behind(self, ray: Any) -> None:
        async def leave(number: int) -> None:
            draft = fake_draft("x", request_id=f"r{number}", num_inference_steps=150)
            events = ask(backend, draft)
            await first_event(events)
            if number % 2:
                await first_event(events)  # a step, or a place
            await events.aclose()

        async with front(ray, ends=False) as backend:
            before = replies(backend)["steps"]
            await asyncio.gather(*(leave(number) for number in range(60)))
            await until(lambda: replies(backend)["running"] == 0, timeout_s=60)
            assert replies(backend)["steps"] - before < 60 * 20
            assert images_of(await answer(backend, fake_draft("after", request_id="after")))
            status = backend.status()
            assert (status.counters.cancelled, status.counters.completed) == (60, 1)
            assert (status.queued, status.running) == (0, 0)
            assert_balanced(backend)

    async def test_two_replicas_do_the_work_of_two(self, ray: Any) -> None:
        async def draw(backend: RayBackend, number: int) -> float:
            draft = fake_draft("x", request_id=f"r{number}", num_inference_steps=10)
            done = (await answer(backend, draft))[-1]
            assert isinstance(done, Done)
            return (done.timings.total_ms - done.timings.queued_ms) / 1000

        async with front(ray, ends=False) as backend:
            started_s = time.perf_counter()
            work_s = sum(await asyncio.gather(*(draw(backend, number) for number in range(16))))
            took_s = time.perf_counter() - started_s
            assert work_s >= 16 * 10 * STEP_S
            assert work_s / took_s > 1.5  # of it was done at the same time

    async def test_a_hung_replica_is_bounded_and_ended(self, ray: Any) -> None:
        async with front(ray, replica_timeout_s=2.0) as backend:
            hung = pids(backend)[0]
            os.kill(hung, signal.SIGSTOP)
            started_s = time.perf_counter()
            drafts = [fake_draft("x", request_id=f"r{number}") for number in range(6)]
            await asyncio.gather(*(answer(backend, draft) for draft in drafts))
            assert time.perf_counter() - started_s < 60
            assert backend.status().counters.completed == 6
            await until(lambda: is_gone(hung))
            await until(lambda: states(backend) == [State.READY] * 2)
            assert hung not in pids(backend)
            assert_balanced(backend)


def is_gone(pid: int) -> bool:
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return True


SEEDS = 6


class Outcomes(Counter[str]):
    """How 200 callers fared, and what they were sent."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[tuple[int, bytes]] = []


async def caller(backend: RayBackend, number: int, outcomes: Outcomes) -> None:
    """One of three leaves early, has no time, or gets its picture."""
    draw = random.Random(number)
    draft = fake_draft(
        "a red apple", request_id=f"r{number}", seed=number % SEEDS, num_inference_steps=2
    )
    kind = draw.choices(("stays", "leaves", "hurries"), (6, 2, 2))[0]
    deadline_s = draw.choice((0.0, 0.05)) if kind == "hurries" else None
    events = ask(backend, draft, client=f"client {number % 5}", deadline_s=deadline_s)
    seen: list[Event] = []
    try:
        async with asyncio.timeout(deadline_s or None):  # as gRPC does at the deadline
            async for event in events:
                seen.append(event)
                if kind == "leaves" and len(seen) == draw.randrange(1, 4):
                    break
            else:
                outcomes["completed"] += 1
                (picture,) = images_of(seen)
                outcomes.pictures.append((number % SEEDS, picture.image.data))
                return
        outcomes["cancelled"] += 1
    except BackendError as error:
        outcomes["rejected" if deadline_s is not None else type(error).__name__] += 1
    except TimeoutError:
        outcomes["timed out"] += 1
    finally:
        await events.aclose()


async def test_200_requests_and_a_killed_replica(ray: Any) -> None:
    """Each is accounted for once, and every picture is the one engine's, byte by byte."""
    wanted: dict[str, Any] = {"max_queue": 300}
    outcomes = Outcomes()
    async with front(ray, **wanted) as backend:
        callers = [asyncio.create_task(caller(backend, n, outcomes)) for n in range(200)]
        await until(lambda: outcomes["completed"] > 10)
        os.kill(pids(backend)[0], signal.SIGKILL)
        async with asyncio.timeout(100):
            await asyncio.gather(*callers)
        await until(lambda: backend.status().running == 0)
        counters = backend.status().counters
        assert_balanced(backend)
    local = LocalBackend(settings(**wanted), sleepers(settings(**wanted)), "1.0")
    await local.start()
    alone = []
    for seed in range(SEEDS):
        draft = fake_draft("a red apple", request_id=f"s{seed}", seed=seed, num_inference_steps=2)
        (picture,) = images_of(await answer(local, draft))
        alone.append(picture.image.data)
    await local.stop()
    assert len(set(alone)) == SEEDS
    assert {seed for seed, data in outcomes.pictures if data != alone[seed]} == set()
    assert counters.received == 200
    assert counters.completed == counters.images == outcomes["completed"] > 50
    assert counters.failed == 0
    ended_early = outcomes["cancelled"] + outcomes["rejected"] + outcomes["timed out"]
    assert counters.cancelled + counters.rejected == ended_early > 20
    assert outcomes["completed"] + ended_early == 200


async def test_replicas_draw_the_local_engines_pictures(
    ray: Any, tiny_model: Path, tmp_path: Path
) -> None:
    """To the bit, with the same number of threads, which decides in what order torch adds."""
    wanted: dict[str, Any] = {
        "model": str(tiny_model),
        "device": "cpu",
        "dtype": "float32",
        "runtime": "torch",
        "num_threads": 1,
        "data_dir": tmp_path,
        "max_queue": 100,
    }

    async def pictures(backend: RayBackend | LocalBackend) -> list[bytes]:
        drafts = [
            fake_draft("a red apple", request_id=f"r{n}", seed=n % SEEDS, num_inference_steps=3)
            for n in range(3 * SEEDS)
        ]
        answers = await asyncio.gather(*(answer(backend, draft) for draft in drafts))
        return [images_of(events)[0].image.data for events in answers]

    async with front(ray, loader, **wanted) as backend:
        found = await pictures(backend)
        reports = [member.report for member in backend.fleet.members if member.report is not None]
        assert min(report.status.counters.images for report in reports) > 0
    local = LocalBackend(settings(**wanted), loader(settings(**wanted)), "1.0")
    await local.start()
    await until(lambda: local.status().state is State.READY)
    expected = await pictures(local)
    await local.stop()
    assert found == expected
    assert len(set(found)) == SEEDS
