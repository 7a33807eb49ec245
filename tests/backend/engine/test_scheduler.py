"""The scheduler's rules, one request or a few at a time. Traces: test_policy.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backend.domain import Queued
from backend.engine.cost import CostModel
from backend.engine.request import Request, Stage, predict_evaluations
from backend.engine.scheduler import Decode, Denoise, Scheduler
from backend.errors import DeadlineExceeded, DeadlineUnmeetable, QueueFull, QuotaSpent
from backend.params import GenerationParams, Lora
from bench.simulator import DECODE_MS, STEP_MS, FakeTrajectory, cost_model, params, small_model

ALONE_MS = 20 * STEP_MS + DECODE_MS


def request(
    name: str = "r",
    client: str = "c",
    wanted: GenerationParams | None = None,
    *,
    arrived_s: float = 0.0,
    deadline_at_s: float | None = None,
) -> Request:
    return Request(name, client, wanted or params(), arrived_s, deadline_at_s)


def start(one: Request, steps_done: int = 1) -> None:
    for task in one.tasks:
        task.trajectory = FakeTrajectory(task.num_rows, task.num_evaluations, steps_done)
        task.stage = Stage.DENOISING


def scheduler(
    *requests: Request,
    cost: CostModel | None = None,
    max_queue: int = 10,
    max_queue_per_client: int = 0,
) -> Scheduler:
    made = Scheduler(cost or cost_model(), max_queue, max_queue_per_client)
    for one in requests:
        made.add(one, one.arrived_s)
    return made


def well_filled(rows: int) -> float:
    """A machine on which every row more pays."""
    return 10.0 + rows


class TestAdmission:
    def test_a_full_queue_refuses_and_says_when_to_retry(self) -> None:
        full = scheduler(request("a"), request("b"), max_queue=2)
        with pytest.raises(QueueFull) as caught:
            full.add(request("c"), 0.0)
        assert caught.value.retry_after_s == pytest.approx(ALONE_MS / 1000)
        assert full.queued == 2

    def test_what_runs_takes_no_place_in_the_queue(self) -> None:
        running = request("a")
        one = scheduler(running, max_queue=1)
        start(running)
        one.add(request("b"), 0.0)
        assert (one.queued, one.running) == (1, 1)

    def test_a_client_may_spend_only_its_quota(self) -> None:
        one = scheduler(request("a", "greedy"), max_queue_per_client=1)
        with pytest.raises(QuotaSpent):
            one.add(request("b", "greedy"), 0.0)
        one.add(request("c", "polite"), 0.0)

    def test_a_wait_longer_than_the_deadline_is_refused_with_its_length(self) -> None:
        busy = scheduler(request("a"))
        with pytest.raises(DeadlineUnmeetable, match=r"2\.2 s of waiting and 2\.2 s") as caught:
            busy.add(request("b", deadline_at_s=3.0), 0.0)
        assert caught.value.retry_after_s == pytest.approx(ALONE_MS / 1000)
        assert busy.queued == 1

    def test_no_retry_helps_work_longer_than_the_deadline(self) -> None:
        with pytest.raises(DeadlineUnmeetable) as caught:
            scheduler().add(request(deadline_at_s=1.0), 0.0)
        assert caught.value.retry_after_s is None

    @pytest.mark.parametrize("deadline_at_s", [-5.0, 0.0, 0.0005])
    def test_a_deadline_that_has_passed_is_no_matter_of_the_queue(
        self, deadline_at_s: float
    ) -> None:
        full = scheduler(request("a"))
        with pytest.raises(DeadlineExceeded):
            full.add(request("b", deadline_at_s=deadline_at_s), 0.0)
        assert full.queued == 1

    def test_a_deadline_just_long_enough_is_admitted(self) -> None:
        scheduler(request("a")).add(request("b", deadline_at_s=4.4), 0.0)

    def test_a_guess_refuses_nobody(self) -> None:
        unmeasured = Scheduler(CostModel(), 10)
        unmeasured.add(request(deadline_at_s=0.001), 0.0)
        assert unmeasured.queued == 1


class TestOrder:
    def test_nothing_to_do(self) -> None:
        assert scheduler().next_work(0.0) is None

    def test_shortest_remaining_first(self) -> None:
        long, short = request("long", wanted=params(50)), request("short", wanted=params(8))
        assert scheduler(long, short).next_work(0.0) == Denoise((short.tasks[0],))

    def test_equals_go_by_arrival(self) -> None:
        first, second = request("a"), request("b", arrived_s=0.1)
        assert scheduler(first, second).next_work(0.2) == Denoise((first.tasks[0],))

    def test_a_decode_is_work_like_any_other(self) -> None:
        done, short = request("done"), request("short", wanted=params(1, guidance_scale=1.0))
        one = scheduler(done)
        start(done, 20)
        done.tasks[0].stage = Stage.DECODING
        assert one.next_work(0.0) == Decode(done.tasks[0])
        cheap = cost_model()
        cheap.decodes[256, 256] = 1.0  # so one step and a decode are shorter than ...
        cheap.decodes[512, 512] = 1000.0  # ... this decode alone
        large = request("large", wanted=params(height=512, width=512))
        both = scheduler(large, short, cost=cheap)
        start(large, 20)
        large.tasks[0].stage = Stage.DECODING
        assert both.next_work(0.0) == Denoise((short.tasks[0],))

    def test_the_one_that_runs_goes_on_unless_another_is_shorter_by_a_step(self) -> None:
        running = request("running", wanted=params(20))
        one = scheduler(running)
        one.next_work(0.0)
        start(running, 0)
        almost = request("almost", wanted=params(20, guidance_scale=1.0))
        assert one.next_work(0.0) == Denoise((running.tasks[0],))
        one.add(almost, 0.0)  # half the rows, so half as long
        assert one.next_work(0.0) == Denoise((almost.tasks[0],))

    def test_a_binding_deadline_goes_first_even_if_longer(self) -> None:
        short = request("short", wanted=params(8))
        urgent = request("urgent", wanted=params(50), deadline_at_s=6.0)
        one = scheduler(urgent, short)
        assert one.next_work(0.0) == Denoise((urgent.tasks[0],))

    def test_a_distant_deadline_does_not(self) -> None:
        short = request("short", wanted=params(8))
        relaxed = request("relaxed", wanted=params(50), deadline_at_s=60.0)
        assert scheduler(relaxed, short).next_work(0.0) == Denoise((short.tasks[0],))

    def test_a_hopeless_deadline_goes_last(self) -> None:
        hopeless = request("hopeless", wanted=params(20), deadline_at_s=3.0)
        long = request("long", wanted=params(50))
        one = scheduler(hopeless, long)
        assert one.next_work(2.5) == Denoise((long.tasks[0],))

    def test_aborted_requests_are_passed_over_at_once(self) -> None:
        gone, there = request("gone", wanted=params(8)), request("there")
        one = scheduler(gone, there)
        gone.aborted = True
        assert one.next_work(0.0) == Denoise((there.tasks[0],))

    def test_an_overdue_request_goes_before_a_shorter_one(self) -> None:
        old, new = request("old", wanted=params(20)), request("new", wanted=params(8))
        new.arrived_s = 99.9
        assert scheduler(old, new).next_work(100.0) == Denoise((old.tasks[0],))

    def test_removing_twice_is_no_error(self) -> None:
        one, it = scheduler(), request()
        one.add(it, 0.0)
        one.remove(it)
        one.remove(it)
        assert one.next_work(0.0) is None


class TestBatches:
    def test_alone_where_batching_does_not_pay(self) -> None:
        first, second = request("a"), request("b")
        assert scheduler(first, second).next_work(0.0) == Denoise((first.tasks[0],))

    def test_filled_to_the_cap_where_it_pays(self) -> None:
        requests = [request(str(number)) for number in range(5)]
        one = scheduler(*requests, cost=cost_model(well_filled, 8))
        assert one.next_work(0.0) == Denoise(tuple(r.tasks[0] for r in requests[:4]))

    def test_the_images_of_one_request_share_a_batch(self) -> None:
        several = request("several", wanted=params(num_images=3))
        one = scheduler(several, cost=cost_model(well_filled, 8))
        assert one.next_work(0.0) == Denoise(tuple(several.tasks))

    @pytest.mark.parametrize(
        "other", [params(height=512), params(width=512), replace(params(), loras=(Lora("ink"),))]
    )
    def test_only_equal_keys_share_a_batch(self, other: GenerationParams) -> None:
        sizes = [(256, 256), (512, 256), (256, 512)]
        first, odd = request("a", wanted=params(8)), request("b", wanted=other)
        one = scheduler(first, odd, cost=cost_model(well_filled, 8, sizes))
        assert one.next_work(0.0) == Denoise((first.tasks[0],))

    def test_prompts_of_equally_many_chunks_share_a_batch(self) -> None:
        requests = [request(str(number)) for number in range(4)]
        for longer in requests[1:]:
            longer.num_chunks = 2
        one = scheduler(*requests, cost=cost_model(well_filled, 8))
        assert one.next_work(0.0) == Denoise((requests[0].tasks[0],))
        one.remove(requests[0])
        assert one.next_work(0.0) == Denoise(tuple(r.tasks[0] for r in requests[1:]))

    def test_for_several_chunks_nothing_is_certified(self) -> None:
        requests = [request(str(number)) for number in range(4)]
        for longer in requests:
            longer.num_chunks = 2
        cost = cost_model(well_filled, 8, certified={1, 2, 4, 8})
        one = scheduler(*requests, cost=cost)
        assert one.next_work(0.0) == Denoise((requests[0].tasks[0],))

    def test_only_certified_row_counts(self) -> None:
        requests = [request(str(number)) for number in range(4)]
        cost = cost_model(well_filled, 8, certified={1, 2, 4})
        one = scheduler(*requests, cost=cost)
        assert one.next_work(0.0) == Denoise(tuple(r.tasks[0] for r in requests[:2]))

    def test_nothing_is_shared_where_nothing_is_certified(self) -> None:
        unguided = request("a", wanted=params(8, guidance_scale=1.0))
        guided = request("b", wanted=params(9))
        cost = cost_model(well_filled, 8, certified={1})
        one = scheduler(unguided, guided, cost=cost)
        assert one.next_work(0.0) == Denoise((unguided.tasks[0],))

    def test_no_step_twice_as_long_for_a_few_percent_more(self) -> None:
        requests = [request(str(number)) for number in range(4)]
        curve = {2: 6.0, 4: 10.0, 6: 14.9, 8: 19.5}  # measured: text2image-mini, two Zen 5 cores
        one = scheduler(*requests, cost=cost_model(lambda rows: curve.get(rows, 20.0), 8))
        assert one.next_work(0.0) == Denoise(tuple(r.tasks[0] for r in requests[:2]))

    def test_no_row_count_that_costs_as_much_as_a_larger_one(self) -> None:
        """Three images where rows are filled up to a power of two: two now, the third next."""
        requests = [request(str(number)) for number in range(3)]
        cost = cost_model(small_model, 8)
        cost.steps[256, 256, 6] = cost.steps[256, 256, 8]
        one = scheduler(*requests, cost=cost)
        assert one.next_work(0.0) == Denoise(tuple(r.tasks[0] for r in requests[:2]))

    def test_out_of_memory_halves_the_cap(self) -> None:
        requests = [request(str(number)) for number in range(4)]
        cost = cost_model(well_filled, 8)
        one = scheduler(*requests, cost=cost)
        cost.ran_out_of_memory(requests[0].batch_key, 8)
        assert one.next_work(0.0) == Denoise(tuple(r.tasks[0] for r in requests[:2]))


def last_wait_ms(scheduler: Scheduler) -> float:
    """The longest wait of the line."""
    *_, (_, queued) = scheduler.line(0.0)
    return queued.estimated_wait_ms


class TestPredictions:
    def test_position_and_wait_count_who_is_ahead(self) -> None:
        long, short = request("long", wanted=params(50)), request("short", wanted=params(8))
        one = scheduler(long, short)
        (first, at_once), (second, later) = one.line(0.0)
        assert (first, second) == (short, long)
        assert at_once == Queued(0, 0.0)
        assert later.position == 1
        assert later.estimated_wait_ms == pytest.approx(8 * STEP_MS + DECODE_MS)
        assert one.etas_ms([long], 0.0)[long] == pytest.approx(58 * STEP_MS + 2 * DECODE_MS)

    def test_who_runs_waits_for_nothing_and_nears_its_end(self) -> None:
        running = request()
        one = scheduler(running)
        start(running, 15)
        assert list(one.line(0.0)) == []
        assert one.etas_ms([running], 0.0)[running] == pytest.approx(5 * STEP_MS + DECODE_MS)

    def test_waits_are_shorter_where_batches_pay(self) -> None:
        requests = [request(str(number)) for number in range(5)]
        alone = scheduler(*requests, cost=cost_model(small_model, 2))
        batched = scheduler(*requests, cost=cost_model(small_model, 8))
        assert last_wait_ms(batched) < 0.8 * last_wait_ms(alone)

    @pytest.mark.parametrize(("name", "expected"), [("pndm", 21), ("heun", 39), ("ddim", 20)])
    def test_evaluations_are_predicted_as_diffusers_makes_them(
        self, name: str, expected: int
    ) -> None:
        assert predict_evaluations(params(20, scheduler=name)) == expected
