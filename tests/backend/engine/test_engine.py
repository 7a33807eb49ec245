"""The engine with a scripted model: no torch, no threads, no real clock."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from backend.engine.cost import CostModel
from backend.engine.engine import Engine
from backend.engine.request import Request
from backend.engine.scheduler import Scheduler
from backend.errors import GenerationFailed, NonFiniteOutput, OutOfMemory, QueueFull
from tests.support.fakes import (
    SECRET,
    FakeModel,
    RecordingObserver,
    colour,
    fake_request,
    wide_costs,
)


class Harness:
    """An engine, its observer, and a clock that advances one second per reading."""

    def __init__(
        self, model: FakeModel, cost: CostModel | None = None, max_queue: int = 100
    ) -> None:
        self.model = model
        self.observer = RecordingObserver()
        self.cost = cost or wide_costs()
        ticks = itertools.count(1.0)
        self.engine = Engine(
            model, Scheduler(self.cost, max_queue), self.cost, self.observer, lambda: next(ticks)
        )

    def add(self, *requests: Request) -> None:
        for request in requests:
            self.engine.add(request)

    def run(self, *requests: Request) -> RecordingObserver:
        self.add(*requests)
        for _ in range(1000):
            if not self.engine.step():
                return self.observer
        raise AssertionError("the engine does not come to an end")

    def steps(self, count: int) -> None:
        for _ in range(count):
            assert self.engine.step()


class TestStory:
    def test_an_idle_engine_says_so(self) -> None:
        assert Harness(FakeModel()).engine.step() is False

    def test_one_request_from_queue_to_picture(self) -> None:
        harness, request = Harness(FakeModel()), fake_request()
        observer = harness.run(request)
        assert observer.queued == [(request.id, 0)]
        assert observer.steps_of(request) == [1, 2, 3]
        assert observer.pictures == [(request.id, 0)]
        assert [rows for _seconds, rows in observer.steps] == [2, 2, 2]  # guided: two each
        assert list(observer.timings) == [request.id]
        assert not observer.errors

    def test_positions_are_told_when_they_change_and_only_then(self) -> None:
        harness = Harness(FakeModel(), cost=CostModel())
        first, second, third = (fake_request(name) for name in ("one", "two", "three"))
        observer = harness.run(first, second, third)
        assert observer.queued == [("one", 0), ("two", 1), ("three", 2), ("two", 0), ("three", 1),
                                ("three", 0)]  # fmt: skip

    def test_image_i_uses_seed_plus_i(self) -> None:
        harness, request = Harness(FakeModel()), fake_request(num_images=3, seed=7)
        observer = harness.run(request)
        for index in range(3):
            expected = colour(request.params, index)
            assert np.array_equal(observer.pixels[request.id, index], expected)
        assert sorted(observer.pictures) == [(request.id, index) for index in range(3)]

    @pytest.mark.parametrize(("scheduler", "evaluations"), [("ddim", 4), ("pndm", 5), ("heun", 7)])
    def test_progress_counts_steps_not_evaluations(self, scheduler: str, evaluations: int) -> None:
        harness = Harness(FakeModel())
        request = fake_request(scheduler=scheduler, num_inference_steps=4)
        observer = harness.run(request)
        assert len(harness.model.batches) == evaluations
        assert observer.steps_of(request) == [1, 2, 3, 4]

    def test_progress_is_averaged_over_the_images(self) -> None:
        harness = Harness(FakeModel(), cost=CostModel())
        observer = harness.run(fake_request(num_images=2, num_inference_steps=4))
        assert [step for _, step in observer.progress] == [1, 2, 3, 4]

    def test_eta_falls_to_the_decode_alone(self) -> None:
        harness = Harness(FakeModel())
        observer = harness.run(fake_request(num_inference_steps=5))
        assert all(eta >= 0 for eta in observer.etas)
        assert observer.etas[-1] < observer.etas[1]

    def test_timings_add_up(self) -> None:
        harness, request = Harness(FakeModel()), fake_request()
        timings = harness.run(request).timings[request.id]
        # The clock moves one second at every look: a span that was measured is 1000 ms.
        assert timings.encode_ms == 1000
        assert timings.denoise_ms == 3000
        assert timings.decode_ms == 1000
        assert timings.queued_ms > 0
        parts = timings.queued_ms + timings.encode_ms + timings.denoise_ms + timings.decode_ms
        assert timings.total_ms >= parts


class TestPreviews:
    @pytest.mark.parametrize(("interval", "due"), [(0, []), (1, [1, 2, 3, 4, 5]), (2, [2, 4])])
    def test_every_n_steps_but_not_after_the_last(self, interval: int, due: list[int]) -> None:
        harness = Harness(FakeModel())
        request = fake_request(num_inference_steps=6, preview_interval=interval)
        observer = harness.run(request)
        assert [step for _, step in observer.previews] == due

    @pytest.mark.parametrize("scheduler", ["pndm", "heun"])
    def test_steps_count_where_a_step_takes_several_evaluations(self, scheduler: str) -> None:
        harness = Harness(FakeModel())
        request = fake_request(num_inference_steps=6, preview_interval=2, scheduler=scheduler)
        observer = harness.run(request)
        assert [step for _, step in observer.previews] == [2, 4, 6][: len(observer.previews)]
        assert len(observer.previews) >= 2

    def test_are_of_the_first_image(self) -> None:
        harness = Harness(FakeModel(), cost=CostModel())
        harness.run(fake_request(num_images=2, num_inference_steps=3, preview_interval=1))
        assert [step for _, step in harness.model.previewed] == [1, 2]

    def test_one_that_fails_costs_no_picture(self) -> None:
        model = FakeModel(fails_in={"bad": "preview"})
        harness, bad = Harness(model), fake_request("bad", preview_interval=1)
        observer = harness.run(bad)
        assert observer.pictures == [(bad.id, 0)]
        assert not observer.errors


class TestSharing:
    def test_requests_share_steps_and_join_at_any_of_them(self) -> None:
        harness = Harness(FakeModel())
        first, second = fake_request("first", num_inference_steps=4), fake_request("second")
        harness.add(first)
        harness.steps(2)
        observer = harness.run(second)
        shared = [batch for batch in harness.model.batches if len(batch) == 2]
        assert len(shared) >= 2
        assert set(observer.timings) == {"first", "second"}

    def test_unguided_requests_bring_one_row(self) -> None:
        harness = Harness(FakeModel(), cost=wide_costs(max_rows=3))
        guided, unguided = fake_request("guided"), fake_request("unguided", guidance_scale=1.0)
        harness.add(guided, unguided, fake_request("too much"))
        harness.steps(1)
        (batch,) = harness.model.batches
        assert set(batch) == {"guided", "unguided"} or len(batch) == 1
        assert sum(2 - (name == "unguided") for name in batch) <= 3


class TestFailures:
    @pytest.mark.parametrize("place", ["prepare", "row", "step", "decode"])
    def test_one_failing_request_leaves_its_mates_untouched(self, place: str) -> None:
        harness = Harness(FakeModel(fails_in={"bad": place}))
        good = [fake_request(f"good {n}", num_inference_steps=4) for n in range(3)]
        observer = harness.run(good[0], fake_request("bad"), *good[1:])
        assert isinstance(observer.errors.pop("bad"), GenerationFailed)
        assert not observer.errors
        for request in good:
            assert observer.steps_of(request) == [1, 2, 3, 4]
            assert np.array_equal(observer.pixels[request.id, 0], colour(request.params, 0))

    def test_what_went_wrong_is_not_in_the_error(self) -> None:
        observer = Harness(FakeModel(fails_in={"bad": "row"})).run(fake_request("bad"))
        assert SECRET not in str(observer.errors["bad"])

    def test_values_that_are_no_numbers_are_named(self) -> None:
        observer = Harness(FakeModel(fails_in={"bad": "nan"})).run(fake_request("bad"))
        assert isinstance(observer.errors["bad"], NonFiniteOutput)
        assert not observer.pictures

    def test_one_bad_image_ends_its_whole_request_once(self) -> None:
        harness = Harness(FakeModel(fails_in={"bad": "step"}))
        observer = harness.run(fake_request("bad", num_images=4))
        assert list(observer.errors) == ["bad"]
        assert harness.engine.step() is False

    def test_a_full_queue_is_told_and_nothing_is_kept(self) -> None:
        harness = Harness(FakeModel(), max_queue=1)
        harness.add(fake_request("one"), fake_request("two"))
        assert isinstance(harness.observer.errors["two"], QueueFull)
        assert list(harness.run().timings) == ["one"]


class TestOutOfMemory:
    def test_half_the_batch_is_tried_and_all_get_their_pictures(self) -> None:
        harness = Harness(FakeModel(oom_above=4))
        requests = [fake_request(f"r{n}") for n in range(6)]
        observer = harness.run(*requests)
        assert not observer.errors
        assert len(observer.timings) == 6
        for request in requests:
            assert observer.steps_of(request) == [1, 2, 3]

    def test_the_cap_is_lowered_so_that_it_happens_once(self) -> None:
        harness = Harness(FakeModel(oom_above=4))
        harness.run(*(fake_request(f"r{n}", num_inference_steps=10) for n in range(4)))
        sizes = [2 * len(batch) for batch in harness.model.batches]
        assert sum(size > 4 for size in sizes) == 1

    def test_one_image_that_does_not_fit_says_so(self) -> None:
        observer = Harness(FakeModel(oom_above=1)).run(fake_request("big"))
        error = observer.errors["big"]
        assert isinstance(error, OutOfMemory)
        assert error.retry_after_s is None


class TestAbort:
    def test_the_rows_are_gone_before_the_next_step(self) -> None:
        harness = Harness(FakeModel())
        leaving, staying = fake_request("leaving"), fake_request("staying")
        harness.add(leaving, staying)
        harness.steps(1)
        harness.engine.abort(leaving)
        observer = harness.run()
        assert harness.model.batches == [("leaving", "staying"), ("staying",), ("staying",)]
        assert list(observer.timings) == ["staying"]
        assert not observer.errors

    def test_before_the_first_step_nothing_is_computed(self) -> None:
        harness, leaving = Harness(FakeModel()), fake_request("leaving")
        harness.add(leaving)
        harness.engine.abort(leaving)
        assert harness.engine.step() is False
        assert harness.model.prepared == []

    def test_flagged_from_outside_it_is_not_stepped_though_the_message_is_late(self) -> None:
        harness = Harness(FakeModel())
        leaving, staying = fake_request("leaving"), fake_request("staying")
        harness.add(leaving, staying)
        leaving.aborted = True  # as the event loop does, at any moment
        harness.add(fake_request("newcomer"))  # tells positions anew
        harness.steps(1)
        assert "leaving" not in harness.model.batches[0]
        harness.engine.abort(leaving)
        assert set(harness.run().timings) == {"staying", "newcomer"}

    @pytest.mark.parametrize("when", ["finished", "unknown", "twice"])
    def test_one_that_is_over_is_no_error(self, when: str) -> None:
        harness, request = Harness(FakeModel()), fake_request()
        if when != "unknown":
            harness.run(request)
        harness.engine.abort(request)
        harness.engine.abort(request)
        assert harness.engine.step() is False

    def test_while_decoding_no_picture_comes(self) -> None:
        harness, request = Harness(FakeModel()), fake_request(num_images=2)
        harness.add(request)
        harness.steps(4)
        assert len(harness.observer.pictures) == 1
        harness.engine.abort(request)
        assert harness.engine.step() is False
        assert not harness.observer.timings


def test_random_lives_always_come_to_an_end(seeded: Any) -> None:
    model = FakeModel(
        fails_in={"p1": "prepare", "p2": "row", "p3": "step", "p4": "decode", "p5": "nan"},
        oom_above=6,
    )
    harness, alive = Harness(model), []
    for number in range(60):
        prompt = f"p{seeded.randrange(12)}"
        request = fake_request(
            prompt,
            id=f"r{number}",
            client=f"c{seeded.randrange(3)}",
            num_images=seeded.randint(1, 3),
            num_inference_steps=seeded.randint(1, 5),
            guidance_scale=seeded.choice([1.0, 7.5]),
            scheduler=seeded.choice(["ddim", "pndm", "heun"]),
        )
        harness.add(request)
        alive.append(request)
        for _ in range(seeded.randrange(4)):
            harness.engine.step()
        if seeded.random() < 0.2:
            harness.engine.abort(alive.pop(seeded.randrange(len(alive))))
    observer = harness.run()
    ended = observer.timings.keys() | observer.errors.keys()
    assert {request.id for request in alive} <= ended
    assert not observer.timings.keys() & observer.errors.keys()
