"""Measures what the model costs on this machine: a cost per row count, and how many rows pay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple, Protocol

from backend.engine.cost import CostModel
from backend.errors import OutOfMemory

MOST_ROWS = 32
KNEE = 0.95  # of the best rows per millisecond: more rows would only add latency
SLOWEST_TICK_MS = 500.0  # a longer UNet call would keep joiners and cancellations waiting
FEWEST_SAMPLES, MOST_SAMPLES = 3, 15
ENOUGH_MS = 200.0  # of sampling
LONG_MS = 3000.0  # of sampling, after which fewer samples will do: disturbances even out
PAUSES_S = (0.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # before each round, for a busy machine to calm down
AGREEMENT = 1.25  # largest ratio between two rounds that count as the same


class Subject(Protocol):
    """What is measured: a model on its runtime, fed with noise. Sizes in pixels, times in ms."""

    def warm(self, height: int, width: int, rows: int) -> None:
        """Compile what `step` and `decode` need."""

    def step(self, height: int, width: int, rows: int) -> float:
        """Time of one UNet call.

        Raises:
            OutOfMemory: so many rows do not fit.
        """

    def decode(self, height: int, width: int) -> float:
        """Time of one image, latents to pixels."""

    def encode(self) -> float:
        """Time of one prompt."""

    def bucket(self, rows: int) -> int:
        """The row count that is computed where `rows` are asked for."""

    def certified(self, height: int, width: int, counts: Iterable[int]) -> frozenset[int]:
        """Those of `counts` at which images share a UNet call and none changes by a bit."""

    def step_bytes(self, height: int, width: int, rows: int) -> int:
        """Memory that one UNet call takes on top of what stays; 0 where that is not counted."""


@dataclass(frozen=True)
class SizeCosts:
    """Measurements of one size: milliseconds, by row count."""

    height: int
    width: int
    steps: dict[int, float]
    decode_ms: float
    cap: int  # rows that pay
    certified: list[int]
    row_bytes: int = 0  # of a UNet call's memory; 0: not counted on this device


@dataclass(frozen=True)
class Calibration:
    """What is known of one model on one machine, in one make."""

    encode_ms: float
    sizes: list[SizeCosts] = field(default_factory=list)

    def cost_model(self, *, certified: bool, most_rows: int = 0) -> CostModel:
        """For the scheduler: `most_rows` of the settings, 0 where there is no such limit."""
        cost = CostModel(certified={} if certified else None, encode=self.encode_ms)
        for size in self.sizes:
            key = size.height, size.width
            cost.caps[key] = min(size.cap, most_rows) if most_rows else size.cap
            cost.decodes[key] = size.decode_ms
            if size.row_bytes:
                cost.row_bytes[key] = size.row_bytes
            for rows, ms in size.steps.items():
                cost.steps[*key, rows] = ms
            if cost.certified is not None:
                cost.certified[key] = frozenset(size.certified)
        return cost

    def refreshed(self, cost: CostModel) -> Calibration:
        """The same with the times that `cost` has come to since, without what disturbed them."""
        return Calibration(
            self.encode_ms if cost.encode is None else cost.encode,
            [
                replace(
                    size,
                    steps={
                        rows: cost.steps.get((size.height, size.width, rows), ms)
                        for rows, ms in size.steps.items()
                    },
                    decode_ms=cost.decodes.get((size.height, size.width), size.decode_ms),
                )
                for size in self.sizes
            ],
        )


class Round(NamedTuple):
    """One series of measurements, in milliseconds; `steps` by row count."""

    encode_ms: float
    decode_ms: float
    steps: dict[int, float]

    @property
    def cap(self) -> int:
        """The smallest row count within `KNEE` of the most rows per millisecond; at least 2."""
        rates = {rows: rows / ms for rows, ms in self.steps.items()}
        enough = KNEE * max(rates.values())
        return max(2, min(rows for rows, rate in rates.items() if rate >= enough))

    def agrees_with(self, other: Round) -> bool:
        shared = self.steps.keys() & other.steps.keys()
        return self.cap == other.cap and all(
            1 / AGREEMENT <= self.steps[rows] / other.steps[rows] <= AGREEMENT for rows in shared
        )

    def least(self, other: Round) -> Round:
        """The lower of both everywhere: what else the machine did only adds time."""
        counts = self.steps.keys() | other.steps.keys()
        far = float("inf")
        return Round(
            min(self.encode_ms, other.encode_ms),
            min(self.decode_ms, other.decode_ms),
            {
                rows: min(self.steps.get(rows, far), other.steps.get(rows, far))
                for rows in sorted(counts)
            },
        )


def calibrate(
    subject: Subject,
    height: int,
    width: int,
    *,
    pause: Callable[[float], None],
    use: Callable[[Calibration], None] = lambda _: None,
) -> Calibration | None:
    """Measure one size in rounds until two agree; other sizes are predicted from it.

    Args:
        subject: what is measured.
        height: in pixels.
        width: in pixels.
        pause: sleeps for so many seconds.
        use: given the best knowledge after every round.

    Returns:
        What two rounds agreed on; None where the machine was too busy for that.
    """
    best: Round | None = None
    certified: dict[int, bool] = {}
    for pause_s in PAUSES_S:
        pause(pause_s)
        latest = _measure(subject, height, width)
        agreed = best is not None and latest.agrees_with(best)
        best = latest if best is None else latest.least(best)
        calibration = _conclude(subject, height, width, best, certified)
        use(calibration)
        if agreed:
            return calibration
    return None


def _measure(subject: Subject, height: int, width: int) -> Round:
    subject.warm(height, width, 1)
    encode_ms = _least_ms(subject.encode)
    decode_ms = _least_ms(lambda: subject.decode(height, width))
    return Round(encode_ms, decode_ms, _measure_steps(subject, height, width))


def _measure_steps(subject: Subject, height: int, width: int) -> dict[int, float]:
    """Row counts 1, 2, 4, …, until more gain nothing, take too long, or do not fit."""
    measured: dict[int, float] = {}
    rows, best, disappointments = 1, 0.0, 0
    while rows <= MOST_ROWS and disappointments < 2:  # one may have been disturbed
        try:
            subject.warm(height, width, rows)
            ms = _least_ms(partial(subject.step, height, width, rows))
        except OutOfMemory:
            if not measured:
                raise
            break
        measured[rows] = ms
        rate = rows / ms
        disappointments = disappointments + 1 if rate * KNEE < best else 0
        best = max(best, rate)
        rows *= 2
        if rows > 2 and 2 * ms * KNEE > SLOWEST_TICK_MS:
            break
    return measured


def _least_ms(sample: Callable[[], float]) -> float:
    """The least of several: what it costs when nothing else disturbs; use shows the rest."""
    sample()  # allocates
    samples: list[float] = []
    while (len(samples) < FEWEST_SAMPLES and sum(samples) < LONG_MS) or (
        len(samples) < MOST_SAMPLES and sum(samples) < ENOUGH_MS
    ):
        samples.append(sample())
    return min(samples)


def _conclude(
    subject: Subject, height: int, width: int, measured: Round, certified: dict[int, bool]
) -> Calibration:
    """The calibration that `measured` amounts to; `certified` remembers what was found before."""
    cap, steps = measured.cap, measured.steps
    open_counts = [rows for rows in steps if rows <= cap and rows not in certified]
    equal = subject.certified(height, width, open_counts)
    certified.update({rows: rows in equal for rows in open_counts})
    counts = [rows for rows in range(1, cap + 1) if subject.bucket(rows) in steps]
    size = SizeCosts(
        height,
        width,
        {rows: steps[subject.bucket(rows)] for rows in counts},
        measured.decode_ms,
        cap,
        [rows for rows in counts if certified.get(subject.bucket(rows), False)],
        subject.step_bytes(height, width, cap) // cap,
    )
    return Calibration(measured.encode_ms, [size])
