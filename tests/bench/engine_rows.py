"""What is measured inside one process: overhead, latency under load, exactness, joining."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence

import numpy as np

from backend.engine.request import Request
from tests.bench.figures import Ratio, abba, percentile, ratio_of
from tests.bench.rows import Row
from tests.bench.subject import Subject, engine, run_fifo, run_trace

MIX_STEPS = ((8, 20, 50), (40, 40, 20))
MIX_SCHEDULERS = ("ddim", "euler", "dpmpp_2m")


def overhead(subject: Subject, rounds: int = 20) -> Row:
    """P1: alone through the engine, against the networks' bare calls."""

    def through_engine(number: int) -> None:
        driver, listener = engine(subject)
        driver.add(Request("r", "c", subject.params(number), time.monotonic()))
        while driver.step():
            pass
        assert not listener.errors

    ours, bare = abba(through_engine, subject.bare, rounds)
    found = ratio_of(ours, bare)
    return Row(
        "P1",
        "engine alone ÷ bare networks, embedded model",
        "≤ 1.10",
        str(found),
        found.value <= 1.10,
        details={"ours_s": ours, "bare_s": bare},
    )


def mix(subject: Subject, count: int, load: float, seed: int) -> list[Request]:
    """Poisson arrivals at `load` of the serial capacity, which is measured, not predicted."""
    draw = random.Random(seed)
    requests = []
    for number in range(count):
        steps = draw.choices(*MIX_STEPS)[0]
        guidance = 1.0 if draw.random() < 0.15 else draw.uniform(3, 12)
        params = subject.params(number, steps, guidance, draw.choice(MIX_SCHEDULERS))
        requests.append(Request(f"r{number}", "c", params, 0.0))
    mean_s = statistics.mean(alone(subject, request) for request in requests)
    now = 0.0
    for request in requests:
        now += draw.expovariate(load / mean_s)
        request.arrived_s = now
    return requests


_alone_s: dict[tuple[int, int], float] = {}


def alone(subject: Subject, request: Request) -> float:
    """Seconds that a request takes with nobody else there; measured once per kind."""
    key = request.params.num_inference_steps, request.tasks[0].num_rows
    if key not in _alone_s:
        subject.draw(request.params)
        samples = []
        for _ in range(3):
            started = time.perf_counter()
            subject.draw(request.params)
            samples.append(time.perf_counter() - started)
        _alone_s[key] = statistics.median(samples)
    return _alone_s[key]


def open_loop(subject: Subject, count: int, load: float, seeds: Sequence[int]) -> list[Row]:
    """P4 and P5: the mix against first come, first served on the same runtime, in turns."""
    ours: list[float] = []
    theirs: list[float] = []
    slowdowns: list[float] = []
    tails: list[float] = []
    for number, seed in enumerate(seeds):
        order = (True, False) if number % 2 == 0 else (False, True)
        found: dict[bool, list[float]] = {}
        for is_ours in order:
            trace = mix(subject, count, load, seed)
            found[is_ours] = (run_trace if is_ours else run_fifo)(subject, trace)
        slowdowns += [
            latency / alone(subject, request)
            for latency, request in zip(found[True], trace, strict=True)
        ]
        tails.append(percentile(found[True], 0.99) / percentile(found[False], 0.99))
        ours += found[True]
        theirs += found[False]
    means, medians = ratio_of(theirs, ours, statistics.mean), ratio_of(theirs, ours)
    within = sum(slowdown <= 3 for slowdown in slowdowns) / len(slowdowns)
    tail = percentile(ours, 0.99) / percentile(theirs, 0.99)
    details: dict[str, object] = {
        "ours_s": ours,
        "fifo_s": theirs,
        "p99_ratio_by_seed": tails,
        "load": load,
    }
    return [
        Row(
            "P4",
            f"open loop at {load:g}, mixed steps: FIFO ÷ ours, mean / p50 latency",
            "1.3 / 2.0",
            f"{means} / {medians}",
            means.value >= 1.3 and medians.value >= 2.0,
            details=details,
        ),
        Row(
            "P5",
            "the same: within 3 × isolated time; our p99 ÷ FIFO's p99",
            "≥ 85 %; ≤ 1.5",
            f"{within:.1%}; {tail:.2f}",
            within >= 0.85 and tail <= 1.5,
        ),
    ]


def exactness(subject: Subject, count: int = 200) -> Row:
    """P7: every picture of a crowd, against the same request alone."""
    draw = random.Random(7)
    requests = [
        Request(
            f"r{number}",
            f"c{number % 5}",
            subject.params(
                number,
                draw.choice((4, 5, 6)),
                draw.choice((1.0, 5.0, 9.0)),
                draw.choice(subject.model.info.schedulers),
            ),
            time.monotonic(),
        )
        for number in range(count)
    ]
    driver, listener = engine(subject)
    for request in requests:
        driver.add(request)
    largest = 0
    step = subject.model.denoise_step

    def spy(trajectories):  # type: ignore[no-untyped-def]
        nonlocal largest
        largest = max(largest, len(trajectories))
        return step(trajectories)

    subject.model.denoise_step = spy  # type: ignore[method-assign]
    try:
        while driver.step():
            pass
    finally:
        subject.model.denoise_step = step  # type: ignore[method-assign]
    if listener.errors:
        raise listener.errors[0]
    equal = sum(
        np.array_equal(listener.pixels[request], subject.draw(request.params))
        for request in requests
    )
    return Row(
        "P7",
        f"bitwise equal alone and in a crowd, {subject.model.exactness.value}, {count} requests",
        "100 %",
        f"{equal / count:.1%} (batches of up to {largest} images)",
        equal == count and largest > 1,
    )


def joining(subject: Subject, rounds: int = 30) -> Row:
    """P8: how many steps pass until a newcomer is in, and until one who left is out.

    Counted in the engine, as it serves them: a step that begins after the arrival, or after the
    abort, and still is without the newcomer, or with the one who left.
    """
    joins, leaves = [], []
    for number in range(rounds):
        driver, _ = engine(subject)
        long = Request("long", "c", subject.params(number, 50), time.monotonic())
        driver.add(long)
        for _ in range(3):
            driver.step()
        short = Request("short", "c", subject.params(number, 8), time.monotonic())
        driver.add(short)
        steps = 0
        while short.tasks[0].step_index == 0:
            driver.step()
            steps += 1
        joins.append(steps)
        before = short.tasks[0].step_index
        trajectory = short.tasks[0].trajectory
        driver.abort(short)
        driver.step()
        assert trajectory is not None
        leaves.append(trajectory.step_index - before)
    worst = max(joins)
    return Row(
        "P8",
        "steps until a newcomer is in / steps run for one who left",
        "≤ 1",
        f"{worst} / {max(leaves)} (worst of {rounds})",
        worst <= 1 and max(leaves) <= 1,
    )


def closed_loop(subject: Subject, concurrency: int, pictures: int, steps: int = 20) -> Ratio:
    """Images per second of our engine at `concurrency` ÷ one after another."""
    driver, listener = engine(subject)
    submitted = 0
    started = time.perf_counter()
    while len(listener.ended_s) < pictures:
        while submitted < pictures and submitted - len(listener.ended_s) < concurrency:
            params = subject.params(submitted, steps)
            driver.add(Request(f"r{submitted}", "c", params, time.monotonic()))
            submitted += 1
        driver.step()
    ours = pictures / (time.perf_counter() - started)
    few = max(4, pictures // 4)
    started = time.perf_counter()
    for number in range(few):
        subject.draw(subject.params(number, steps))
    serial = few / (time.perf_counter() - started)
    return Ratio(ours / serial, ours, serial)
