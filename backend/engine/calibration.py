"""Measures the model's speed on this machine: time per row count, and the best batch size.

A row is one entry of the UNet's batch; an image with guidance takes two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple, Protocol

from backend.engine.cost import LEAST_MS, CostModel
from backend.errors import OutOfMemory

MOST_ROWS = 32
KNEE = 0.95  # share of the best rows/ms that is enough: more rows would mostly add latency
SLOWEST_TICK_MS = 500.0  # a longer UNet call would delay new requests and cancellations
FEWEST_SAMPLES, MOST_SAMPLES = 3, 15
ENOUGH_MS = 200.0  # total sampling time after which FEWEST_SAMPLES are enough
LONG_MS = 3000.0  # total sampling time after which even fewer are enough: noise averages out
PAUSES_S = (0.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # before each round, so that other load can end
AGREEMENT = 1.25  # largest ratio between two rounds that count as equal


class Subject(Protocol):
    """A model on its runtime, measured with random inputs. Sizes in pixels, times in ms."""

    def warm(self, height: int, width: int, rows: int) -> None:
        """Compile the networks that `step` and `decode` will run."""

    def step(self, height: int, width: int, rows: int) -> float:
        """Time of one UNet call.

        Raises:
            OutOfMemory: this many rows do not fit.
        """

    def decode(self, height: int, width: int) -> float:
        """Time to decode one image, latents to pixels."""

    def encode(self) -> float:
        """Time to encode one prompt."""

    def bucket(self, rows: int) -> int:
        """The row count that the runtime computes for `rows` (some pad to fixed counts)."""

    def certified(self, height: int, width: int, counts: Iterable[int]) -> frozenset[int]:
        """The row counts at which images in a shared UNet call are bitwise equal to alone."""

    def step_bytes(self, height: int, width: int, rows: int) -> int:
        """Peak working memory of one UNet call; 0 where the device does not report it."""


@dataclass(frozen=True)
class SizeCosts:
    """Measurements for one image size; `steps` maps row count to milliseconds."""

    height: int
    width: int
    steps: dict[int, float]
    decode_ms: float
    cap: int  # most rows worth batching
    certified: list[int]
    row_bytes: int = 0  # working memory per row of a UNet call; 0: not reported by the device


@dataclass(frozen=True)
class Calibration:
    """Measured costs of one model on one machine, runtime and dtype."""

    encode_ms: float
    sizes: list[SizeCosts] = field(default_factory=list)

    def cost_model(self, *, certified: bool, most_rows: int = 0) -> CostModel:
        """The scheduler's cost model; `most_rows` is the configured batch limit, 0 = no limit."""
        cost = CostModel(certified={} if certified else None, encode=self.encode_ms)
        for size in self.sizes:
            key = size.height, size.width
            cost.caps[key] = min(size.cap, most_rows) if most_rows else size.cap
            cost.decodes[key] = max(LEAST_MS, size.decode_ms)
            if size.row_bytes:
                cost.row_bytes[key] = size.row_bytes
            for rows, ms in size.steps.items():
                cost.steps[*key, rows] = max(LEAST_MS, ms)
            if cost.certified is not None:
                cost.certified[key] = frozenset(size.certified)
        return cost

    def refreshed(self, cost: CostModel) -> Calibration:
        """A copy with the times `cost` has learned since, corrected for other load."""
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
        """The minimum of both at every entry, since other load can only make a run slower."""
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
        pause: sleeps for the given seconds.
        use: called after every round with the best calibration so far.

    Returns:
        The calibration once two rounds agree; None if the machine was too busy for that.
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
    """Time row counts 1, 2, 4, … until more are no faster per row, too slow, or do not fit."""
    measured: dict[int, float] = {}
    rows, best, disappointments = 1, 0.0, 0
    while rows <= MOST_ROWS and disappointments < 2:  # a single one may be noise
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
    """The minimum of several samples: the time on an otherwise idle machine."""
    sample()  # the first run also allocates
    samples: list[float] = []
    while (len(samples) < FEWEST_SAMPLES and sum(samples) < LONG_MS) or (
        len(samples) < MOST_SAMPLES and sum(samples) < ENOUGH_MS
    ):
        samples.append(sample())
    return max(LEAST_MS, min(samples))


def _conclude(
    subject: Subject, height: int, width: int, measured: Round, certified: dict[int, bool]
) -> Calibration:
    """Build the calibration from `measured`; `certified` caches results of earlier rounds."""
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
