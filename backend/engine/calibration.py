"""Measures what the model costs on this machine, and remembers it for the next start."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from backend.disk_cache import write_whole
from backend.engine.cost import CostModel

MOST_ROWS = 32
KNEE = 0.95  # of the best rows per millisecond: more rows would only add latency
SLOWEST_TICK_MS = 500.0  # a longer UNet call would keep joiners and cancellations waiting
FEWEST_SAMPLES, MOST_SAMPLES = 3, 15
ENOUGH_MS = 200.0  # of sampling
LONG_MS = 3000.0  # of sampling, after which fewer samples will do: disturbances even out
FORMAT = 2  # of the stored file; 1 held times that a busy machine had spoiled


class Subject(Protocol):
    """What is measured: a model on its runtime, fed with made-up inputs. Sizes in pixels."""

    def step(self, height: int, width: int, rows: int) -> None:
        """One UNet call."""

    def decode(self, height: int, width: int) -> None:
        """One image, latents to pixels."""

    def encode(self) -> None:
        """The prompts of one request."""

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
                    steps={rows: cost.steps[size.height, size.width, rows] for rows in size.steps},
                    decode_ms=cost.decodes[size.height, size.width],
                )
                for size in self.sizes
            ],
        )


def calibrate(
    subject: Subject, height: int, width: int, clock: Callable[[], float] = time.perf_counter
) -> Calibration:
    """Measure one size; others are predicted from it until they run.

    The cap is the smallest row count that comes within `KNEE` of the most rows per millisecond;
    doubling stops where it gains less than that, or where a step would take too long.
    """
    encode_ms = _least_ms(subject.encode, clock)
    decode_ms = _least_ms(lambda: subject.decode(height, width), clock)
    measured = _measure_steps(subject, height, width, clock)
    cap = _knee(measured)
    certified = subject.certified(height, width, [rows for rows in measured if rows <= cap])
    counts = range(1, cap + 1)
    steps = {
        rows: measured[subject.bucket(rows)] for rows in counts if subject.bucket(rows) in measured
    }
    return Calibration(
        encode_ms,
        [
            SizeCosts(
                height,
                width,
                steps,
                decode_ms,
                cap,
                [rows for rows in counts if subject.bucket(rows) in certified],
                subject.step_bytes(height, width, cap) // cap,
            )
        ],
    )


def _measure_steps(
    subject: Subject, height: int, width: int, clock: Callable[[], float]
) -> dict[int, float]:
    measured: dict[int, float] = {}
    rows, best, disappointments = 1, 0.0, 0
    while rows <= MOST_ROWS and disappointments < 2:  # one may have been disturbed
        measured[rows] = ms = _least_ms(partial(subject.step, height, width, rows), clock)
        rate = rows / ms
        disappointments = disappointments + 1 if rate * KNEE < best else 0
        best = max(best, rate)
        rows *= 2
        if rows > 2 and 2 * ms * KNEE > SLOWEST_TICK_MS:
            break
    return measured


def _knee(measured: Mapping[int, float]) -> int:
    rates = {rows: rows / ms for rows, ms in measured.items()}
    enough = KNEE * max(rates.values())
    return max(2, min(rows for rows, rate in rates.items() if rate >= enough))


def _least_ms(work: Callable[[], None], clock: Callable[[], float]) -> float:
    """The least of several: what it costs when nothing else disturbs; use shows the rest."""
    work()  # compiles, allocates
    samples: list[float] = []
    while (len(samples) < FEWEST_SAMPLES and sum(samples) < LONG_MS) or (
        len(samples) < MOST_SAMPLES and sum(samples) < ENOUGH_MS
    ):
        started = clock()
        work()
        samples.append((clock() - started) * 1000)
    return min(samples)


class CalibrationStore:
    """One JSON file per make: machine, versions, dtype, runtime, threads, model."""

    def __init__(self, folder: Path, make: Mapping[str, str]) -> None:
        digest = hashlib.sha256(json.dumps(make, sort_keys=True).encode()).hexdigest()
        self._make = dict(make)
        self._path = folder / "calibration" / f"{digest[:16]}.json"

    def load(self) -> Calibration | None:
        """What was stored for this very make; None where nothing, or nothing usable, was."""
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            if stored["format"] != FORMAT or stored["make"] != self._make:
                return None
            return Calibration(
                float(stored["encode_ms"]), [_size_from(size) for size in stored["sizes"]]
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, calibration: Calibration) -> None:
        """Keep it; a failure to write is the caller's to report.

        Raises:
            OSError: the folder can't be written.
        """
        stored = {"format": FORMAT, "make": self._make, **asdict(calibration)}
        text = json.dumps(stored, indent=1)
        write_whole(self._path, lambda aside: aside.write_text(text, encoding="utf-8"))


def _size_from(stored: Mapping[str, object]) -> SizeCosts:
    steps = stored["steps"]
    certified = stored["certified"]
    if not isinstance(steps, dict) or not isinstance(certified, list):
        raise ValueError("no measurements")
    return SizeCosts(
        height=int(str(stored["height"])),
        width=int(str(stored["width"])),
        steps={int(rows): float(ms) for rows, ms in steps.items()},
        decode_ms=float(str(stored["decode_ms"])),
        cap=int(str(stored["cap"])),
        certified=[int(rows) for rows in certified],
        row_bytes=int(str(stored["row_bytes"])),
    )
