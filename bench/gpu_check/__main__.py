"""`python -m bench.gpu_check`: checks in five minutes whether a GPU works as expected.

Every figure is printed as a line of JSON as soon as it is measured; a report follows.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.gpu_check import failures, memory, right, speed
from bench.gpu_check.stage import Bench, Found, Stage

LIMIT_S = 420.0
QUICK: tuple[Stage, ...] = (
    right.versions,
    right.setting_up,
    right.embedded_on_both,
    right.noise_schedulers,
    right.waits,
    right.crowds,
    speed.beside_others,
    speed.mixed_crowd,
)
LONG: tuple[Stage, ...] = (speed.networks, speed.one_picture, speed.layouts, speed.throughput)
PROCESSES: tuple[Stage, ...] = (
    failures.first_picture,
    failures.too_large,
    failures.second_device,
    failures.lost_device,  # last, since the device stays lost
)
STAGES = (*QUICK, *LONG, memory.unloading, *PROCESSES)


def check(
    bench: Bench,
    tell: Callable[[dict[str, Any]], None],
    stages: Iterable[Stage] = STAGES,
    limit_s: float = LIMIT_S,
) -> list[dict[str, Any]]:
    """Run the stages in order; a failing stage is reported and the next one started.

    Returns:
        The printed records: stage, what, value, expected, ok, and the stage's seconds so far.
    """
    told: list[dict[str, Any]] = []
    began = time.perf_counter()

    def say(stage: Stage, found: Found, started: float) -> None:
        seconds = round(time.perf_counter() - started, 1)
        line = {"stage": stage.__name__, **found._asdict(), "seconds": seconds}
        told.append(line)
        tell(line)

    for stage in stages:
        started = time.perf_counter()
        if started - began > limit_s:
            say(stage, Found("left out", "no time left", "", False), started)
            continue
        try:
            for found in stage(bench):
                say(stage, found, started)
        except Exception as error:
            traceback.print_exc()
            say(stage, Found("failed", f"{type(error).__name__}: {error}", "", False), started)
    return told


def report(lines: Sequence[dict[str, Any]]) -> str:
    """A Markdown table, and the number of expectations that were met."""
    rows = ["| stage | what | found | expected | |", "| --- | --- | --- | --- | --- |"]
    for line in lines:
        mark = {True: "met", False: "**not met**", None: ""}[line["ok"]]
        value = str(line["value"]).replace("|", "/").replace("\n", " ")
        rows.append(f"| {line['stage']} | {line['what']} | {value} | {line['expected']} | {mark} |")
    judged = [line["ok"] for line in lines if line["ok"] is not None]
    return "\n".join([*rows, "", f"{sum(judged)} of {len(judged)} expectations met."])


def main(arguments: Sequence[str]) -> int:
    """Run the check; returns 0 if every expectation was met."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu_check", description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, mps, cpu")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--large", type=Path, help="a model of SD 1.4's shape; else one is built")
    parser.add_argument("--no-compiler", action="store_true", help="leave torch.compile out")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[stage.__name__ for stage in STAGES],
        metavar="STAGE",
        help="run these stages alone: " + ", ".join(stage.__name__ for stage in STAGES),
    )
    parser.add_argument("--report", type=Path, help="write the report here as well")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(
            Path(scratch),
            device=given.device,
            large=given.large,
            steps=given.steps,
            compiles=not given.no_compiler,
        )
        stages = [stage for stage in STAGES if not given.only or stage.__name__ in given.only]
        lines = check(bench, _print, stages, limit_s=given.limit)
    text = report(lines)
    print(text)
    if given.report is not None:
        given.report.write_text(text + "\n", encoding="utf-8")
    return 0 if all(line["ok"] is not False for line in lines) else 1


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line, default=str), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
