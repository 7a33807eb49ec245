"""Medians, confidence intervals, and interleaved runs for fair ratios."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

RESAMPLES = 2000
CONFIDENCE = 0.95


class Ratio(NamedTuple):
    """A ratio of two medians, with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least a `share` of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ratio_of(
    above: Sequence[float],
    below: Sequence[float],
    statistic: Callable[[Sequence[float]], float] = statistics.median,
) -> Ratio:
    """statistic(above) / statistic(below), resampled for the interval."""
    draw = random.Random(0)
    interval = _interval(
        statistic(draw.choices(above, k=len(above))) / statistic(draw.choices(below, k=len(below)))
        for _ in range(RESAMPLES)
    )
    return Ratio(statistic(above) / statistic(below), *interval)


class Difference(NamedTuple):
    """A difference of two paired shares, with its 95 % bootstrap interval; all from -1 to 1."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.1%} ({self.low:+.1%} to {self.high:+.1%})"


def difference_of(ours: Sequence[bool], theirs: Sequence[bool]) -> Difference:
    """mean(ours) - mean(theirs) of paired values; pairs are resampled for the interval."""
    draw = random.Random(0)
    found = [our - their for our, their in zip(ours, theirs, strict=True)]
    interval = _interval(
        statistics.fmean(draw.choices(found, k=len(found))) for _ in range(RESAMPLES)
    )
    return Difference(statistics.fmean(found), *interval)


def _interval(resampled: Iterable[float]) -> tuple[float, float]:
    """The limits of the middle `CONFIDENCE` of `RESAMPLES` values."""
    ordered = sorted(resampled)
    edge = int(RESAMPLES * (1 - CONFIDENCE) / 2)
    return ordered[edge], ordered[-1 - edge]


def abba(
    a: Callable[[int], None], b: Callable[[int], None], rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds of each, run in the order A B B A A B B A …; both receive the round's number."""
    a(-1)
    b(-1)
    times_a: list[float] = []
    times_b: list[float] = []
    for number in range(rounds):
        pair = [(a, times_a), (b, times_b)]
        for run, times in pair if number % 2 == 0 else reversed(pair):
            times.append(seconds(partial(run, number)))
    return times_a, times_b


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one run."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
