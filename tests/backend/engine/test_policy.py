"""The policy on whole arrival traces, in the simulator."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.engine.request import Request, Stage
from backend.engine.scheduler import Decode, Denoise, Encode, Scheduler
from bench.simulator import (
    Result,
    cost_model,
    fifo,
    mix,
    no_gain,
    params,
    simulate,
    small_model,
)

SEEDS = range(1, 9)


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def both(load: float, count: int = 300, **curve: object) -> tuple[Result, Result]:
    """Ours and first come, first served, over the same arrivals."""
    ours, theirs = Result(), Result()
    for seed in SEEDS:
        cost = cost_model(**curve)  # type: ignore[arg-type]
        ours.outcomes += simulate(mix(count, load, cost, seed), cost).outcomes
        theirs.outcomes += fifo(mix(count, load, cost, seed), cost).outcomes
    return ours, theirs


class TestAgainstFirstComeFirstServed:
    def test_calm_under_load_even_where_batching_gains_nothing(self) -> None:
        ours, theirs = both(0.8, step=no_gain)
        new, old = ours.latencies(), theirs.latencies()
        assert statistics.mean(old) / statistics.mean(new) >= 1.3
        assert percentile(old, 0.5) / percentile(new, 0.5) >= 2.0
        assert percentile(new, 0.99) / percentile(old, 0.99) <= 1.5
        assert ours.share_within(3) >= 0.82

    def test_much_calmer_where_it_does(self) -> None:
        ours, theirs = both(0.8, 150, step=small_model, cap=16)
        new, old = ours.latencies(), theirs.latencies()
        assert statistics.mean(old) / statistics.mean(new) >= 2.5
        assert percentile(new, 0.99) / percentile(old, 0.99) <= 0.5
        assert ours.share_within(3) >= 0.97

    def test_short_requests_survive_overload(self) -> None:
        ours, theirs = both(1.2, 150, step=no_gain)
        assert theirs.share_within(3) < 0.15
        assert ours.share_within(3) > 0.4

    def test_as_fast_as_possible_alone(self) -> None:
        cost = cost_model()
        result = simulate([Request("r", "c", params(20), 0.0)], cost)
        assert result.outcomes[0].slowdown == pytest.approx(1.0)


class TestFairness:
    def test_a_greedy_client_does_not_block_a_polite_one(self) -> None:
        cost = cost_model()
        greedy = [Request(f"g{n}", "greedy", params(8), 0.0) for n in range(200)]
        polite = [Request(f"p{n}", "polite", params(20), 10.0 * n) for n in range(10)]
        result = simulate([*greedy, *polite], cost)
        slowdowns = [o.slowdown for o in result.outcomes if o.request.client == "polite"]
        assert max(slowdowns) <= 4.0

    def test_two_busy_clients_share_the_model(self) -> None:
        cost = cost_model()
        short = [Request(f"s{n}", "short", params(8), 0.0) for n in range(200)]
        long = [Request(f"l{n}", "long", params(50), 0.0) for n in range(50)]
        result = simulate([*short, *long], cost)
        used = {"short": 0.0, "long": 0.0}
        for at_s, work in result.work:
            if at_s > 100:  # both still have a backlog
                break
            task = work.task if isinstance(work, Decode | Encode) else work.tasks[0]
            used[task.request.client] += 1
        assert 0.8 <= used["short"] / used["long"] <= 1.25

    def test_a_huge_image_does_not_block_small_ones(self) -> None:
        sizes = [(256, 256), (1024, 1024)]
        cost = cost_model(sizes=sizes)
        huge = Request("huge", "one", params(50, height=1024, width=1024), 0.0)
        small = [Request(f"s{n}", "other", params(8), 5.0 + 5.0 * n) for n in range(10)]
        result = simulate([huge, *small], cost)
        slowdowns = [o.slowdown for o in result.outcomes if o.request is not huge]
        assert max(slowdowns) <= 3.0  # a step of the huge one is never interrupted

    def test_nobody_starves_behind_an_endless_stream_of_shorter_ones(self) -> None:
        cost = cost_model()
        long = Request("long", "c", params(50), 0.0)
        short = [Request(f"s{n}", "c", params(8), 0.96 * n) for n in range(400)]
        result = simulate([long, *short], cost)
        (slowdown,) = (o.slowdown for o in result.outcomes if o.request is long)
        assert slowdown <= 12.0

    def test_deadlines_do_not_buy_more_than_a_share(self) -> None:
        cost = cost_model()
        pushy = [Request(f"d{n}", "pushy", params(20), n * 1.0, n * 1.0 + 3.5) for n in range(100)]
        plain = [Request(f"p{n}", "plain", params(20), n * 6.0) for n in range(15)]
        result = simulate([*pushy, *plain], cost)
        slowdowns = [o.slowdown for o in result.outcomes if o.request.client == "plain"]
        assert len(slowdowns) == len(plain)
        assert statistics.median(slowdowns) <= 4.0

    def test_coming_back_gives_no_second_share(self) -> None:
        """One request at a time, again and again, is no way around the rounds."""
        cost = cost_model()
        patient = Request("patient", "patient", params(50), 0.0)
        others = [Request(f"o{n}", "restless", params(20), 2.2 * n) for n in range(40)]
        result = simulate([patient, *others], cost)
        (slowdown,) = (o.slowdown for o in result.outcomes if o.request is patient)
        assert slowdown <= 5.0


SPECS = st.lists(
    st.tuples(
        st.integers(1, 12),  # steps
        st.sampled_from([1.0, 7.5]),
        st.sampled_from([(256, 256), (512, 256)]),
        st.integers(1, 3),  # images
        st.sampled_from(["a", "b", "c"]),
        st.floats(0, 20),  # arrival, s
        st.one_of(st.none(), st.floats(0.1, 60)),  # deadline, s after it
        st.one_of(st.none(), st.floats(0, 30)),  # leaves, s after it
    ),
    min_size=1,
    max_size=15,
)


class TestInvariants:
    @settings(max_examples=60, deadline=None)
    @given(SPECS, st.sampled_from([2, 8]), st.booleans())
    def test_any_trace(self, specs: list[tuple], cap: int, certified: bool) -> None:  # type: ignore[type-arg]
        sizes = [(256, 256), (512, 256)]
        counts = {1, 2, 4, 8} if certified else None
        cost = cost_model(small_model, cap, sizes, counts)
        requests, leaves = [], {}
        for number, (steps, guidance, (height, width), images, client, at_s, dl, gone) in enumerate(
            specs
        ):
            wanted = params(
                steps, height=height, width=width, guidance_scale=guidance, num_images=images
            )
            deadline = None if dl is None else at_s + dl
            request = Request(f"r{number}", client, wanted, at_s, deadline)
            requests.append(request)
            if gone is not None:
                leaves[request] = at_s + gone
        result = simulate(requests, cost, abort_at=leaves, check=_check_predictions)

        ended = [o.request for o in result.outcomes] + result.refused + result.aborted
        assert sorted(r.id for r in ended) == sorted(r.id for r in requests)
        decoded = [work.task for _, work in result.work if isinstance(work, Decode)]
        assert len(decoded) == len(set(decoded))
        for outcome in result.outcomes:
            assert all(task.stage is Stage.FINISHED for task in outcome.request.tasks)
            assert set(outcome.request.tasks) <= set(decoded)
        for _, work in result.work:
            if isinstance(work, Denoise):
                _check_batch(work, cap, certified)


def _check_batch(work: Denoise, cap: int, certified: bool) -> None:
    assert len(set(work.tasks)) == len(work.tasks)
    assert len({task.request.batch_key for task in work.tasks}) == 1
    rows = sum(task.num_rows for task in work.tasks)
    assert rows <= cap
    if certified and len(work.tasks) > 1:
        assert rows in {2, 4, 8}


def _check_predictions(scheduler: Scheduler, now_s: float) -> None:
    alive = [r for r in scheduler._requests if not r.aborted]
    assert scheduler.queued + scheduler.running == len(scheduler._requests)
    line = dict(scheduler.line(now_s))
    assert set(line) == {r for r in alive if r.is_waiting}
    assert len({queued.position for queued in line.values()}) == len(line)
    for request, queued in line.items():
        assert 0 <= queued.position < len(alive)
        assert scheduler.etas_ms([request], now_s)[request] >= queued.estimated_wait_ms >= 0


def test_the_first_prediction_of_a_wait_is_near_the_truth() -> None:
    cost = cost_model()
    requests = [Request(f"r{n}", f"c{n % 3}", params(8 + n % 13), 0.0) for n in range(30)]
    scheduler = Scheduler(cost, 100)
    for request in requests:
        scheduler.add(request, 0.0)
    etas_ms = scheduler.etas_ms(requests, 0.0)
    result = simulate(requests, cost)
    errors = [abs(o.finished_s * 1000 / etas_ms[o.request] - 1) for o in result.outcomes]
    assert statistics.median(errors) <= 0.1
