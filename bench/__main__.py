"""Runs the benchmark, prints the table, and writes JSON and a plot: `make bench`.

python -m bench [--model FOLDER] [--only P1,P4] [--quick] [--venvs FOLDER]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from backend.config import EMBEDDED_MODELS
from bench import adapters, closed_loop, engine_rows, model_switches, open_loop, server_rows
from bench.plot import plot
from bench.rows import Row, conditions, print_table, write
from bench.subject import Subject, load

CONCURRENCY = 16
STEPS = 20
LOADS = (0.3, 0.6, 0.8, 0.95, 1.2)
ORDER = ["F", *(f"P{number}" for number in range(1, 12)), "L1", "L2", "L3"]


def main() -> None:
    arguments = _arguments()
    found = conditions()
    for name, value in found.items():
        print(f"{name}: {value}")
    rows: list[Row] = []
    probe = _Probe(arguments.model)
    for wanted, measure in _measurements(arguments, probe.subject):
        if not wanted & arguments.only:
            continue
        print(f"\nmeasuring {', '.join(sorted(wanted))} …", flush=True)
        started, before_ms = time.perf_counter(), probe.ms()
        for row in measure():
            rows.append(row)
            print(f"  {row.number}: {row.value or row.note}", flush=True)
        print(f"  took {time.perf_counter() - started:.0f} s", flush=True)
        print(
            f"  a bare step took {before_ms:.1f} ms before, {probe.ms():.1f} ms after", flush=True
        )
    found["bare steps between measurements, ms"] = probe.found_ms
    rows.sort(key=lambda row: ORDER.index(row.number))
    print_table(rows)
    for row in rows:
        if row.number == "P4":
            open_loop.print_loads(row)
        if row.number == "P6" and row.details:
            closed_loop.print_rates(row)
    path = write(rows, found, arguments.name)
    print(f"\n{path}\n{plot(rows, path.with_suffix('.svg'))}")


class _Probe:
    """The model under test, loaded on first use, and the machine's current speed with it."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._subject: Subject | None = None
        self.found_ms: list[float] = []

    def subject(self) -> Subject:
        if self._subject is None:
            self._subject = load(self._folder)
            info, cost = self._subject.model.info, self._subject.cost
            print(f"  {info.runtime}: {info.runtime_reason}")
            print(f"  rows that pay, by size: {cost.caps}")
        return self._subject

    def ms(self) -> float:
        self.found_ms.append(round(self.subject().probe_ms(), 2))
        return self.found_ms[-1]


def _measurements(
    arguments: argparse.Namespace, subject: Callable[[], Subject]
) -> Iterator[tuple[set[str], Callable[[], Iterable[Row]]]]:
    quick: bool = arguments.quick
    folder: str | None = arguments.model

    yield {"P9"}, lambda: [server_rows.start_to_picture(folder, 1 if quick else 3)]
    if folder is None:
        yield {"F"}, lambda: [_faithful(subject(), *((1, 24) if quick else (3, 200)))]
    yield (
        {"P1"},
        lambda: [
            engine_rows.overhead(subject(), "embedded model", 1.10, rounds=8 if quick else 30)
        ],
    )
    yield (
        {"P4", "P5"},
        lambda: open_loop.rows(
            subject(),
            40 if quick else 75,
            (0.8,) if quick else LOADS,
            (1,) if quick else range(1, 17),
        ),
    )
    yield {"P7"}, lambda: [engine_rows.exactness(subject(), 40 if quick else 200)]
    yield {"P8"}, lambda: [engine_rows.joining(subject(), 5 if quick else 30)]
    yield (
        {"P6"},
        lambda: closed_loop.throughput(
            folder or _embedded(), arguments.venvs, 32 if quick else 96, STEPS
        ),
    )
    yield (
        {"P11"},
        lambda: [server_rows.status_latency(folder, CONCURRENCY, 32 if quick else 96, STEPS)],
    )
    yield {"P10"}, lambda: [server_rows.memory(folder, 300 if quick else 2000)]
    yield {"L1"}, lambda: adapters.per_step(folder, 50 if quick else 500)
    for runtime, count in (("torch", 500), ("openvino", 50)):
        number = count // 10 if quick else count
        yield {"L2"}, partial(_switches, folder, runtime, number)
    yield {"L3"}, lambda: [model_switches.switches(50 if quick else 500)]
    yield {"P2", "P3"}, lambda: _one_picture(arguments)


def _switches(folder: str | None, runtime: str, count: int) -> list[Row]:
    return [adapters.switches(folder, runtime, count)]


def _faithful(subject: Subject, rounds: int, count: int) -> Row:
    from bench.fidelity_row import faithful  # needs the training's dependencies

    return faithful(subject, _embedded(), rounds, count)


def _one_picture(arguments: argparse.Namespace) -> Iterator[Row]:
    from bench.sd14 import rows

    return rows(arguments.sd14, arguments.venvs, 4 if arguments.quick else 8)


def _embedded() -> str:
    folders = [path.parent for path in EMBEDDED_MODELS.glob("*/model_index.json")]
    if not folders:
        raise SystemExit("there is no embedded model in models/: name one with --model")
    return str(folders[0])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--model", help="a folder in diffusers layout instead of the embedded one")
    parser.add_argument("--only", help="P1,P4 and so on; default: all", default=",".join(ORDER))
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--venvs", type=Path, default=Path(".data/bench"), help="for the peers")
    parser.add_argument("--sd14", type=Path, default=Path(".data/bench/sd14"))
    parser.add_argument("--name", default="latest", help="of the files in bench-results/")
    arguments = parser.parse_args()
    arguments.only = set(arguments.only.split(","))
    if arguments.only - set(ORDER):
        parser.error(f"no such row: {', '.join(sorted(arguments.only - set(ORDER)))}")
    arguments.venvs = arguments.venvs.resolve()
    arguments.sd14 = arguments.sd14.resolve()  # optimum takes a relative path for a hub id
    arguments.venvs.mkdir(parents=True, exist_ok=True)
    return arguments


if __name__ == "__main__":
    main()
