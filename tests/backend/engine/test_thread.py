"""The engine's thread and its bridge to the event loop."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from PIL import Image

from backend import images
from backend.domain import Done, Event, FinishedImage, Progress, Queued
from backend.engine.jobs import Job
from backend.engine.loading import EngineStopped
from backend.engine.protocols import Pixels
from backend.engine.scheduler import Scheduler
from backend.engine.statistics import Statistics
from backend.engine.thread import MAX_BREAKDOWNS, AsyncEngine
from backend.errors import GenerationFailed, QueueFull
from tests.support.fakes import FakeModel, Gate, fake_request, images_of, wide_costs


class Bench:
    """An AsyncEngine with its statistics, and jobs to give it."""

    def __init__(self, model: FakeModel, max_queue: int = 100) -> None:
        self.model = model
        self.statistics = Statistics()
        self.broken = 0
        cost = wide_costs()
        self.scheduler = Scheduler(cost, max_queue)
        self.engine = AsyncEngine(
            model, self.scheduler, cost, self.statistics, "1.0", self._count_broken
        )

    def _count_broken(self) -> None:
        self.broken += 1

    def submit(self, prompt: str = "a red apple", **changes: object) -> Job:
        job = Job(fake_request(prompt, **changes), is_named=True)  # type: ignore[arg-type]
        self.engine.submit(job)
        return job


@asynccontextmanager
async def bench(model: FakeModel | None = None, max_queue: int = 100) -> AsyncIterator[Bench]:
    made = Bench(model or FakeModel(), max_queue)
    try:
        yield made
    finally:
        if made.model.gate is not None:
            made.model.gate.open()
        await made.engine.stop()


async def story(job: Job) -> list[Event]:
    async with asyncio.timeout(20):
        return [event async for event in job.events()]


async def test_the_model_is_bound_to_the_thread_that_calls_it() -> None:
    model = FakeModel()
    called_by: list[threading.Thread] = []
    model.on_step = lambda: called_by.append(threading.current_thread())
    async with bench(model) as running:
        await story(running.submit())
    assert model.bound_to == [called_by[0]]
    assert set(called_by) == set(model.bound_to)


async def test_the_end_tells_what_could_not_be_followed() -> None:
    async with bench() as running:
        done = (await story(running.submit("cut")))[-1]
        assert isinstance(done, Done)
        assert [warning.reason for warning in done.warnings] == ["PROMPT_CUT"]


async def test_a_job_ends_with_pictures_that_can_be_opened() -> None:
    async with bench() as running:
        events = await story(running.submit(num_images=3, seed=5))
        assert isinstance(events[-1], Done)
        found = images_of(events)
        assert [finished.image.seed for finished in found] == [5, 6, 7]
        for finished in found:
            opened = Image.open(io.BytesIO(finished.image.data))
            assert opened.size == (64, 64)
            assert f"Seed: {finished.image.seed}" in opened.info["parameters"]
        assert running.statistics.counters.completed == 1
        assert running.statistics.counters.images == 3
        told = {found.name: found for found in running.statistics.last_hour}
        assert told["batch_rows"].sum >= 3 * 2  # three images, each guided, a step or more
        assert sum(told["step_seconds"].counts) == sum(told["batch_rows"].counts) > 0
        assert sum(told["generation_seconds"].counts) == 1


async def test_progress_comes_while_it_runs_and_previews_are_jpegs() -> None:
    gate = Gate()
    async with bench(FakeModel(gate=gate)) as running:
        job = running.submit(preview_interval=1, num_inference_steps=4)
        events = job.events()
        assert await anext(events) == Queued(0, 0.0)
        gate.allow(1)
        progress = await anext(events)
        assert isinstance(progress, Progress)
        assert progress.step == 1
        gate.open()
        rest = [event async for event in events]
        previews = [e.preview for e in [progress, *rest] if isinstance(e, Progress) and e.preview]
        assert previews
        assert Image.open(io.BytesIO(previews[-1].data)).format == "JPEG"


async def test_flagged_pictures_carry_no_data() -> None:
    async with bench(FakeModel(nsfw=frozenset({"naked"}))) as running:
        (finished,) = images_of(await story(running.submit("naked")))
        assert finished.image.nsfw_detected
        assert finished.image.data == b""
        assert (finished.image.width, finished.image.height) == (64, 64)


async def test_an_abort_frees_the_model_before_the_next_step() -> None:
    gate = Gate()
    async with bench(FakeModel(gate=gate)) as running:
        job = running.submit(num_inference_steps=1000)
        gate.allow(3)
        gate.wait_arrived(4)  # the fourth is being computed
        running.engine.abort(job)
        follower = running.submit("follower")
        gate.open()
        await story(follower)
        assert running.model.batches == [("a red apple",)] * 4 + [("follower",)] * 3
        assert running.statistics.counters.cancelled == 1


async def test_aborting_what_is_over_counts_nothing() -> None:
    async with bench() as running:
        job = running.submit()
        await story(job)
        running.engine.abort(job)
        assert running.statistics.counters.cancelled == 0
        assert running.statistics.counters.completed == 1


async def test_counts_tell_waiting_from_running() -> None:
    gate = Gate()
    async with bench(FakeModel(gate=gate)) as running:
        jobs = [running.submit(f"r{n}", height=64 + 8 * n) for n in range(3)]
        gate.wait_arrived(1)
        assert running.engine.counts == (2, 1)
        gate.open()
        for job in jobs:
            await story(job)
        assert running.engine.counts == (0, 0)


async def test_a_full_queue_refuses_the_rest_and_counts_them_as_rejected() -> None:
    gate = Gate()
    async with bench(FakeModel(gate=gate), max_queue=1) as running:
        first = running.submit("first", height=128)
        gate.wait_arrived(1)
        waiting, refused = running.submit("waiting"), running.submit("refused")
        gate.allow(1)  # messages are taken between steps
        with pytest.raises(QueueFull):
            await story(refused)
        gate.open()
        await story(first)
        await story(waiting)
        assert running.statistics.counters.rejected == 1


async def test_a_picture_that_cannot_be_encoded_fails_its_request_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encode = images.encode

    def sometimes(pixels: Pixels, *args: object) -> bytes:
        if pixels.shape[0] == 72:
            raise OSError("no space left in /secret")
        return encode(pixels, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "encode", sometimes)
    async with bench() as running:
        bad, good = running.submit("bad", height=72), running.submit("good")
        with pytest.raises(GenerationFailed) as caught:
            await story(bad)
        assert "secret" not in str(caught.value)
        assert isinstance((await story(good))[-1], Done)


async def test_the_event_loop_stays_free_while_the_model_computes() -> None:
    gate = Gate()
    async with bench(FakeModel(gate=gate)) as running:
        job = running.submit()
        gate.wait_arrived(1)
        for _ in range(100):
            await asyncio.sleep(0)  # would not return while a step blocks the loop
        gate.open()
        await story(job)
        assert threading.current_thread() is threading.main_thread()


async def test_an_idle_engine_blocks_instead_of_polling() -> None:
    async with bench() as running:
        await story(running.submit())
        await asyncio.sleep(0.3)  # the look after the last picture may come late
        looks = 0
        next_work = running.scheduler.next_work

        def count(now_s: float) -> object:
            nonlocal looks
            looks += 1
            return next_work(now_s)

        running.scheduler.next_work = count  # type: ignore[method-assign, assignment]
        await asyncio.sleep(0.2)
        assert looks == 0


class TestBreakdown:
    """An error in the engine itself, which no single request is to blame for."""

    async def test_what_it_held_fails_and_the_next_request_is_served(self) -> None:
        async with bench() as running:
            next_work = running.scheduler.next_work

            def broken(now_s: float) -> None:
                running.scheduler.next_work = next_work  # type: ignore[method-assign]
                raise RuntimeError("secret")

            running.scheduler.next_work = broken  # type: ignore[method-assign]
            with pytest.raises(GenerationFailed) as caught:
                await story(running.submit("unlucky"))
            assert "secret" not in str(caught.value)
            assert isinstance((await story(running.submit("lucky")))[-1], Done)
            assert running.engine.is_alive
            assert running.statistics.counters.failed == 1

    async def test_one_that_does_not_recover_ends_and_leaves_nobody_waiting(self) -> None:
        async with bench() as running:

            def broken(now_s: float) -> None:
                raise RuntimeError("secret")

            running.scheduler.next_work = broken  # type: ignore[method-assign]
            for number in range(MAX_BREAKDOWNS + 1):
                with pytest.raises(GenerationFailed):
                    await story(running.submit(f"r{number}"))
                await asyncio.sleep(0)
                if running.broken:
                    break
            assert running.broken == 1


async def test_stop_returns_after_the_step_it_is_in() -> None:
    gate = Gate()
    running = Bench(FakeModel(gate=gate))
    running.submit(num_inference_steps=1000)
    gate.wait_arrived(1)
    gate.allow(1)
    async with asyncio.timeout(20):
        stopping = asyncio.ensure_future(running.engine.stop())
        await asyncio.sleep(0)
        gate.open()
        await stopping
    assert not running.engine.is_alive
    assert len(running.model.batches) < 1000


async def test_finished_images_are_events_of_their_own() -> None:
    async with bench() as running:
        events = await story(running.submit(num_images=2))
        assert sum(isinstance(event, FinishedImage) for event in events) == 2


class TestIdleTime:
    async def test_what_is_done_in_it_returns_and_raises_where_it_was_asked_for(self) -> None:
        async with bench() as running:
            name = await asyncio.to_thread(
                running.engine.run, lambda: threading.current_thread().name
            )
            assert name == "engine"
            with pytest.raises(ZeroDivisionError):
                await asyncio.to_thread(running.engine.run, lambda: 1 / 0)
            await story(running.submit())  # the engine is none the worse for it
            assert running.broken == 0

    async def test_requests_go_first(self) -> None:
        gate, order = Gate(), list[str]()
        model = FakeModel(gate=gate)
        async with bench(model) as running:
            first = running.submit()
            await asyncio.to_thread(gate.wait_arrived, 1)
            aside = asyncio.create_task(
                asyncio.to_thread(running.engine.run, lambda: order.append("aside"))
            )
            await asyncio.sleep(0.05)
            second = running.submit("a blue apple")
            model.on_step = lambda: order.append("step")
            gate.open()
            await asyncio.gather(story(first), story(second), aside)
        assert order[-1] == "aside"
        assert set(order[:-1]) == {"step"}

    async def test_it_ends_with_the_engine(self) -> None:
        gate = Gate()
        running = Bench(FakeModel(gate=gate))
        running.submit()
        await asyncio.to_thread(gate.wait_arrived, 1)
        waiting = [
            asyncio.create_task(asyncio.to_thread(call))
            for call in (partial(running.engine.run, lambda: 1), partial(running.engine.sleep, 60))
        ]
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(running.engine.stop())
        await asyncio.sleep(0.05)
        gate.open()
        await stopping
        for task in waiting:
            with pytest.raises(EngineStopped):
                await task
        with pytest.raises(EngineStopped):
            running.engine.run(lambda: 1)
