"""Measurements inside one process: overhead, exactness, joining and leaving."""

from __future__ import annotations

import random
import time
from functools import partial

import numpy as np

from backend.engine.request import Request
from bench.figures import abba, ratio_of
from bench.rows import Row
from bench.subject import Subject, engine


def overhead(subject: Subject, what: str, most: float, rounds: int, steps: int = 20) -> Row:
    """P1: one request through the engine, relative to the bare network calls; at most `most`."""

    def through_engine(number: int) -> None:
        driver, listener = engine(subject)
        driver.add(Request("r", "c", subject.params(number, steps), time.perf_counter()))
        while driver.step():
            pass
        assert not listener.errors

    ours, bare = abba(through_engine, partial(subject.bare, steps=steps), rounds)
    found = ratio_of(ours, bare)
    return Row(
        "P1",
        f"engine alone ÷ bare networks, {what}",
        f"≤ {most:.2f}",
        str(found),
        found.value <= most,
        details={"ours_s": ours, "bare_s": bare},
    )


def exactness(subject: Subject, count: int = 200) -> Row:
    """P7: compares every picture of a crowd with the same request alone."""
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
            time.perf_counter(),
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
    """P8: number of steps until a new request takes part, and until an aborted one doesn't.

    Counts steps of the engine that begin after the arrival without the new request, or after the
    abort with the aborted one.
    """
    joins, leaves = [], []
    for number in range(rounds):
        driver, _ = engine(subject)
        long = Request("long", "c", subject.params(number, 50), time.perf_counter())
        driver.add(long)
        for _ in range(3):
            driver.step()
        short = Request("short", "c", subject.params(number, 8), time.perf_counter())
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
