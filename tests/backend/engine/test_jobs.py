"""Jobs: slow readers block nobody, retries join, a job without callers is aborted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from backend.domain import (
    Done,
    Event,
    Exactness,
    FinishedImage,
    GeneratedImage,
    Progress,
    Queued,
    Timings,
)
from backend.engine.jobs import Job, JobRegistry
from backend.errors import GenerationFailed, RequestConflict
from tests.support.fakes import INFO, fake_params, fake_request


def job(name: str = "r", *, is_named: bool = True, num_images: int = 1) -> Job:
    return Job(fake_request(id=name, num_images=num_images), is_named)


def picture(index: int = 0, size: int = 10) -> FinishedImage:
    return FinishedImage(index, GeneratedImage(b"p" * size, "image/png", 64, 64, index))


def preview(text: str) -> GeneratedImage:
    return GeneratedImage(text.encode(), "image/jpeg", 8, 8, 0)


def done(one: Job) -> Done:
    return Done(one.request.id, one.request.params, INFO, Exactness.CERTIFIED, Timings())


def finish(one: Job) -> Job:
    for index in range(one.request.params.num_images):
        one.post(picture(index))
    one.post(done(one))
    return one


async def next_of(events: AsyncIterator[Event]) -> Event:
    async with asyncio.timeout(20):
        return await anext(events)


async def all_of(one: Job) -> list[Event]:
    async with asyncio.timeout(20):
        return [event async for event in one.events()]


class TestEvents:
    async def test_the_whole_story_in_order(self) -> None:
        one = job()
        one.post(Queued(0, 5.0))
        events = one.events()
        assert await next_of(events) == Queued(0, 5.0)
        one.post(Progress(1, 2, 9.0))
        assert await next_of(events) == Progress(1, 2, 9.0)
        one.post(picture())
        assert await next_of(events) == picture()
        one.post(done(one))
        assert await next_of(events) == done(one)
        with pytest.raises(StopAsyncIteration):
            await next_of(events)

    async def test_a_slow_reader_gets_the_latest_step_and_preview_and_every_picture(self) -> None:
        one = job(num_images=2)
        events = one.events()
        one.post(Progress(1, 100, 0.0))
        assert await next_of(events) == Progress(1, 100, 0.0)
        for step in range(2, 100):
            one.post(Progress(step, 100, 0.0, preview(str(step))))
        one.post(picture(0))
        one.post(picture(1))
        assert await next_of(events) == Progress(99, 100, 0.0, preview("99"))
        assert [await next_of(events), await next_of(events)] == [picture(0), picture(1)]

    async def test_a_preview_that_comes_late_joins_the_latest_step(self) -> None:
        one = job()
        one.post(Progress(7, 9, 0.0))
        one.post(Progress(5, 9, 0.0, preview("5")))
        assert await next_of(one.events()) == Progress(7, 9, 0.0, preview("5"))

    async def test_a_preview_is_sent_once(self) -> None:
        one = job()
        events = one.events()
        one.post(Progress(1, 9, 0.0, preview("1")))
        assert await next_of(events) == Progress(1, 9, 0.0, preview("1"))
        one.post(Progress(2, 9, 0.0))
        assert await next_of(events) == Progress(2, 9, 0.0)

    async def test_no_queue_position_after_the_first_step(self) -> None:
        one = job()
        one.post(Queued(0, 0.0))
        one.post(Progress(1, 9, 0.0))
        assert await next_of(one.events()) == Progress(1, 9, 0.0)

    async def test_the_end_waits_for_pictures_that_are_still_encoded(self) -> None:
        one = job(num_images=2)
        one.post(done(one))
        one.post(picture(1))
        events = one.events()
        assert await next_of(events) == picture(1)
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        assert not waiting.done()
        one.post(picture(0))
        assert await waiting == picture(0)
        assert await next_of(events) == done(one)

    async def test_a_failure_is_raised_after_what_came_before_it(self) -> None:
        one = job(num_images=2)
        events = one.events()
        one.post(picture(0))
        one.fail(GenerationFailed("broken"))
        assert await next_of(events) == picture(0)
        with pytest.raises(GenerationFailed):
            await next_of(events)

    async def test_everybody_is_told_the_same_end(self) -> None:
        one = finish(job(num_images=2))
        assert await all_of(one) == await all_of(one) == [picture(0), picture(1), done(one)]

    async def test_a_reader_waits_without_spinning(self) -> None:
        one = job()
        waiting = asyncio.ensure_future(anext(one.events()))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        one.post(Queued(3, 0.0))
        assert await waiting == Queued(3, 0.0)


class Lives:
    """A registry, and what it aborted."""

    def __init__(self, ttl_s: float = 60.0, max_kept_bytes: int = 1000) -> None:
        self.registry = JobRegistry(ttl_s, max_kept_bytes)
        self.aborted: list[str] = []

    def start(self, one: Job) -> Job:
        self.registry.add(one)
        return one

    @contextmanager
    def attend(self, one: Job) -> Iterator[None]:
        with self.registry.attend(one, lambda gone: self.aborted.append(gone.request.id)):
            yield

    def find(self, name: str, client: str = "someone", **changes: Any) -> Job | None:
        return self.registry.find(client, name, fake_params(**changes))


class TestRegistry:
    async def test_a_retry_joins_the_running_job(self) -> None:
        lives = Lives()
        one = lives.start(job())
        with lives.attend(one):
            assert lives.find("r") is one

    async def test_names_count_within_a_client(self) -> None:
        lives = Lives()
        one = lives.start(job())
        with lives.attend(one):
            assert lives.find("r", client="somebody else") is None

    async def test_other_parameters_under_the_same_name_are_refused(self) -> None:
        lives = Lives()
        one = lives.start(job())
        with lives.attend(one), pytest.raises(RequestConflict):
            lives.find("r", seed=2)

    async def test_the_last_caller_leaving_aborts(self) -> None:
        lives = Lives()
        one = lives.start(job())
        with lives.attend(one):
            with lives.attend(one):
                pass
            assert lives.aborted == []
            assert lives.find("r") is one
        assert lives.aborted == ["r"]
        assert lives.find("r") is None

    async def test_a_result_is_kept_for_a_retry(self) -> None:
        lives = Lives()
        one = lives.start(job())
        with lives.attend(one):
            finish(one)
        assert lives.aborted == []
        assert lives.find("r") is one

    async def test_a_result_of_a_made_up_name_is_not_kept(self) -> None:
        lives = Lives()
        one = lives.start(job(is_named=False))
        with lives.attend(one):
            finish(one)
        assert lives.find("r") is None

    async def test_a_result_expires(self) -> None:
        lives = Lives(ttl_s=0.01)
        one = lives.start(job())
        with lives.attend(one):
            finish(one)
        await asyncio.sleep(0.05)
        assert lives.find("r") is None

    async def test_the_oldest_results_make_room(self) -> None:
        lives = Lives(max_kept_bytes=25)
        for name in ("a", "b", "c"):
            one = lives.start(job(name))
            with lives.attend(one):
                finish(one)
        assert [lives.find(name) is not None for name in "abc"] == [False, True, True]

    async def test_asking_again_for_a_result_does_not_count_it_twice(self) -> None:
        lives = Lives(max_kept_bytes=25)
        for name in ("a", "b"):
            one = lives.start(job(name))
            with lives.attend(one):
                finish(one)
            for _ in range(5):
                with lives.attend(one):
                    pass
        assert lives.find("a") is not None
        assert lives.find("b") is not None

    async def test_a_failed_job_is_not_joined_though_somebody_still_reads_it(self) -> None:
        lives = Lives()
        failed = lives.start(job())
        with lives.attend(failed):
            failed.fail(GenerationFailed("broken"))
            assert lives.find("r") is None
            again = lives.start(job())
        with lives.attend(again):
            assert lives.find("r") is again

    async def test_a_failed_job_is_forgotten_and_not_aborted(self) -> None:
        lives = Lives()
        one = lives.start(job())
        with lives.attend(one):
            one.fail(GenerationFailed("broken"))
        assert lives.aborted == []
        assert lives.find("r") is None
