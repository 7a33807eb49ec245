"""P4 and P5: an open loop (random arrivals), for us and for first come, first served."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from backend.engine.request import Request
from bench.figures import Ratio, percentile, ratio_of
from bench.rows import Row
from bench.subject import Subject, engine

STEPS = ((8, 20, 50), (40, 40, 20))
SCHEDULERS = ("ddim", "euler", "dpmpp_2m")
UNGUIDED, OTHER_SIZE, NEGATIVE, LEAVES = 0.15, 0.2, 0.3, 0.05
"""Shares of the requests without guidance, of another size than the native one (three quarters
or one and a quarter of its height), with one and the same negative prompt, and of callers who
leave half-way."""
PATIENCE = 3.0
"""Times its time alone that a request may take."""


@dataclass(eq=False)
class Arrival:
    """A request, its arrival time, and the time when its caller leaves (or None); in seconds."""

    request: Request
    at_s: float = 0.0
    leaves_s: float | None = None


class Run(NamedTuple):
    """Latencies in seconds of requests whose callers stayed, for ours and for FIFO.

    `busy` is the share of time that FIFO was generating in each trace: the actual load.
    """

    ours: list[float]
    fifo: list[float]
    alone: list[float]
    busy: list[float]

    def within(self, latencies: Sequence[float]) -> float:
        """Share of requests that took at most `PATIENCE` times their time alone."""
        pairs = zip(latencies, self.alone, strict=True)
        return statistics.mean(latency <= PATIENCE * alone for latency, alone in pairs)


def mix(subject: Subject, count: int, load: float, seed: int) -> list[Arrival]:
    """Poisson arrivals at `load` times the measured serial capacity."""
    draw = random.Random(seed)
    arrivals = [Arrival(_request(subject, number, draw)) for number in range(count)]
    mean_s = statistics.mean(alone(subject, arrival.request) for arrival in arrivals)
    now = 0.0
    for arrival in arrivals:
        now += draw.expovariate(load / mean_s)
        arrival.at_s = now
        if draw.random() < LEAVES:
            arrival.leaves_s = now + alone(subject, arrival.request) / 2
    return arrivals


def _request(subject: Subject, number: int, draw: random.Random) -> Request:
    steps = draw.choices(*STEPS)[0]
    guidance = 1.0 if draw.random() < UNGUIDED else draw.uniform(3, 12)
    params = subject.params(number, steps, guidance, draw.choice(SCHEDULERS))
    if draw.random() < OTHER_SIZE:
        params = replace(params, height=params.height * draw.choice((3, 5)) // 4)
    if draw.random() < NEGATIVE:
        params = replace(params, negative_prompt="blurry")
    return Request(f"r{number}", "c", params, 0.0)


_alone_s: dict[tuple[int, int, int], float] = {}


def alone(subject: Subject, request: Request) -> float:
    """Seconds that a request takes alone; measured once per kind."""
    key = (
        request.params.num_inference_steps,
        request.tasks[0].num_rows,
        request.params.height,
    )
    if key not in _alone_s:
        subject.draw(request.params)
        samples = []
        for _ in range(3):
            started = time.perf_counter()
            subject.draw(request.params)
            samples.append(time.perf_counter() - started)
        _alone_s[key] = statistics.median(samples)
    return _alone_s[key]


def run_ours(subject: Subject, arrivals: Sequence[Arrival]) -> list[float]:
    """Latencies in our engine, from the scheduled arrival, of requests whose callers stayed."""
    driver, listener = engine(subject)
    start = time.perf_counter()
    events = sorted(
        [(arrival.at_s, True, arrival.request) for arrival in arrivals]
        + [(a.leaves_s, False, a.request) for a in arrivals if a.leaves_s is not None],
        key=lambda event: event[0],
    )
    stayed = [arrival for arrival in arrivals if arrival.leaves_s is None]
    position = 0
    while position < len(events) or any(a.request not in listener.ended_s for a in stayed):
        while position < len(events) and start + events[position][0] <= time.perf_counter():
            at_s, comes, request = events[position]
            if comes:
                request.arrived_s = start + at_s
                driver.add(request)
            elif request not in listener.ended_s:
                driver.abort(request)
            position += 1
        if not driver.step() and position < len(events):
            time.sleep(max(0.0, start + events[position][0] - time.perf_counter()))
        if listener.errors:
            raise listener.errors[0]
    return [listener.ended_s[a.request] - start - a.at_s for a in stayed]


def run_fifo(subject: Subject, arrivals: Sequence[Arrival]) -> tuple[list[float], float]:
    """Latencies for one pipeline behind a lock on the same runtime, and its share of busy time.

    Callers who leave while waiting are skipped; a generation that has started is finished.
    """
    start, latencies, idle_s = time.perf_counter(), [], 0.0
    for arrival in arrivals:
        due = start + arrival.at_s
        pause_s = max(0.0, due - time.perf_counter())
        idle_s += pause_s
        time.sleep(pause_s)
        if arrival.leaves_s is not None and start + arrival.leaves_s < time.perf_counter():
            continue
        subject.draw(arrival.request.params)
        if arrival.leaves_s is None:
            latencies.append(time.perf_counter() - due)
    return latencies, 1 - idle_s / (time.perf_counter() - start)


def run_both(subject: Subject, count: int, load: float, seeds: Sequence[int]) -> Run:
    """Run ours and FIFO alternately, with another trace for every seed.

    The traces are short, since a machine's speed may change within minutes.
    """
    total = Run([], [], [], [])
    for number, seed in enumerate(seeds):
        _alone_s.clear()  # the machine's speed drifts
        first = mix(subject, count, load, seed)
        second = mix(subject, count, load, seed)
        if number % 2 == 0:
            ours = run_ours(subject, first)
            fifo, busy = run_fifo(subject, second)
        else:
            fifo, busy = run_fifo(subject, first)
            ours = run_ours(subject, second)
        total.ours.extend(ours)
        total.fifo.extend(fifo)
        total.busy.append(busy)
        total.alone.extend(
            alone(subject, arrival.request) for arrival in first if arrival.leaves_s is None
        )
    return total


def rows(subject: Subject, count: int, loads: Sequence[float], seeds: Sequence[int]) -> list[Row]:
    """P4 and P5 at load 0.8 with all seeds; other loads with the first seed only."""
    runs = {
        load: run_both(subject, count, load, seeds if load == 0.8 else seeds[:1]) for load in loads
    }
    told = {load: _figures(run) for load, run in runs.items()}
    run = runs[0.8]
    means, medians = _ratios(run)
    within, tail = run.within(run.ours), _tail(run)
    details: dict[str, object] = {
        "loads": told,
        "ours_s": run.ours,
        "fifo_s": run.fifo,
    }
    return [
        Row(
            "P4",
            "open loop at 0.8, the mix: FIFO ÷ ours, mean / p50 latency",
            "1.3 / 2.0",
            f"{means} / {medians}",
            means.value >= 1.3 and medians.value >= 2.0,
            details=details,
        ),
        Row(
            "P5",
            f"the same: within {PATIENCE:g} × isolated time; our p99 ÷ FIFO's p99",
            "≥ 85 %; ≤ 1.5",
            f"{within:.1%} (FIFO {run.within(run.fifo):.1%}); {tail:.2f}",
            within >= 0.85 and tail <= 1.5,
        ),
    ]


def _ratios(run: Run) -> tuple[Ratio, Ratio]:
    return ratio_of(run.fifo, run.ours, statistics.mean), ratio_of(run.fifo, run.ours)


def _tail(run: Run) -> float:
    return percentile(run.ours, 0.99) / percentile(run.fifo, 0.99)


def _figures(run: Run) -> list[str]:
    means, medians = _ratios(run)
    return [
        str(means),
        str(medians),
        f"{_tail(run):.2f}",
        f"{run.within(run.ours):.0%}",
        f"{run.within(run.fifo):.0%}",
        f"{statistics.mean(run.busy):.0%}",
    ]


def print_loads(row: Row) -> None:
    """Print the results of every load as Markdown."""
    loads = row.details["loads"]
    assert isinstance(loads, dict)
    names = ["mean ÷", "p50 ÷", "p99 ×", f"within {PATIENCE:g} × alone", "FIFO within", "FIFO busy"]
    print(f"\n| load | {' | '.join(names)} |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for load, figures in loads.items():
        print(f"| {load:g} | {' | '.join(figures)} |")
