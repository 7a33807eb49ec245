"""P6: a closed loop (each caller sends the next request when served), for us and for peers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import StableDiffusionPipeline

from bench.peers.lock import LockedPipeline
from bench.peers.servers import NotHere, Work, peer_server
from bench.rows import Row, arithmetic
from bench.server_rows import ours, rates_of

CONCURRENCIES = (1, 2, 4, 8, 16)
OURS = "ours, as shipped"
MEASURED = {"float32": "as shipped", "bfloat16": "set to bfloat16"}
"""Dtypes of the peers (their default is float32), and how the table calls them."""
Rates = dict[int, float]
"""Pictures per second, by the number of callers."""


class Rival(NamedTuple):
    """A peer in one dtype; `make` names our settings for a comparison with the same runtime."""

    name: str
    dtype: str
    make: str

    def __str__(self) -> str:
        return f"{self.name}, {self.dtype}"


OUR_MAKES: dict[str, dict[str, object]] = {
    "as shipped": {},
    "torch float32": {"RUNTIME": "torch", "DTYPE": "float32"},
    "torch bfloat16": {"RUNTIME": "torch", "DTYPE": "bfloat16"},
    "openvino float32": {"RUNTIME": "openvino", "DTYPE": "float32"},
    "openvino bfloat16": {"RUNTIME": "openvino", "DTYPE": "bfloat16"},
}


def rivals(dtypes: Sequence[str]) -> list[Rival]:
    """Every peer in each of these dtypes."""
    return [
        *(
            Rival(name, dtype, f"torch {dtype}")
            for name in ("diffusers behind a lock", "litserve", "ray")
            for dtype in dtypes
        ),
        *(Rival("optimum", dtype, f"openvino {dtype}") for dtype in dtypes),
    ]


def throughput(folder: str, venvs: Path, pictures: int, steps: int) -> list[Row]:
    """Measure ours first and last, and the peers in between with a third as many pictures.

    All without progress events; ours also once with them.

    Args:
        folder: a model in diffusers layout.
        venvs: folder for the peers' virtual environments.
    """
    found: dict[str, Rates] = {}
    missing: dict[str, str] = {}
    size = native(folder)
    all_rivals = rivals(arithmetic())

    def measure_ours(make: str, *, is_told: bool = False) -> Rates:
        with ours(folder, steps, is_told=is_told, **OUR_MAKES[make]) as draw:
            rates = rates_of(draw, CONCURRENCIES, pictures)
        _tell(f"ours, {make}{', every step told' * is_told}", rates)
        return rates

    first = measure_ours("as shipped")
    found["ours, every step told"] = measure_ours("as shipped", is_told=True)
    for rival in all_rivals:
        try:
            with _rival(rival, venvs, Work(folder, rival.dtype, steps, size)) as draw:
                found[str(rival)] = rates_of(draw, CONCURRENCIES, max(16, pictures // 3))
            _tell(str(rival), found[str(rival)])
        except NotHere as error:
            missing[str(rival)] = str(error)
    for make in sorted({rival.make for rival in all_rivals if str(rival) in found}):
        found[f"ours, {make}"] = measure_ours(make)
    again = measure_ours("as shipped")
    mean = {callers: (rate + again[callers]) / 2 for callers, rate in first.items()}
    turns = {"first": first, "again": again}
    return _rows({OURS: mean, **found}, all_rivals, missing, turns)


def _rows(
    found: dict[str, Rates],
    all_rivals: Sequence[Rival],
    missing: dict[str, str],
    turns: dict[str, Rates],
) -> list[Row]:
    most = CONCURRENCIES[-1]
    equals = {
        str(rival): found[f"ours, {rival.make}"][most] / found[str(rival)][most]
        for rival in all_rivals
        if str(rival) in found
    }
    rows = [
        _against([str(rival) for rival in all_rivals if rival.dtype == dtype], told, found, equals)
        for dtype, told in MEASURED.items()
        if dtype in arithmetic()
    ]
    rows[0].note = "; ".join(f"{name}: {why}" for name, why in missing.items())
    rows[0].details = {"rates": found, "same_make": equals, "missing": missing, "turns": turns}
    return rows


def _against(
    rivals: Sequence[str], told: str, found: dict[str, Rates], equals: dict[str, float]
) -> Row:
    most = CONCURRENCIES[-1]
    mine = found[OURS][most]
    theirs = {name: found[name][most] for name in rivals if name in found}
    best = max(theirs, key=theirs.__getitem__)
    alike = [equals[name] for name in theirs]
    return Row(
        "P6",
        f"closed loop at {most}: ours ÷ best peer {told}, pictures/s",
        "2 ×",
        f"{mine / theirs[best]:.1f} × ({mine:.1f}/s over gRPC; {best} {theirs[best]:.1f}/s); with "
        f"the same runtime and dtype {min(alike):.1f} to {max(alike):.1f} ×",
        mine / theirs[best] >= 2.0,
    )


def print_rates(row: Row) -> None:
    """Print pictures per second by number of callers, as Markdown."""
    rates, equals = row.details["rates"], row.details["same_make"]
    assert isinstance(rates, dict)
    assert isinstance(equals, dict)
    print(f"\n| pictures/s with … callers | {' | '.join(map(str, CONCURRENCIES))} | ours ÷ |")
    print(f"| --- {'| --- ' * len(CONCURRENCIES)}| --- |")
    for name, by_callers in rates.items():
        told = " | ".join(f"{rate:.2f}" for rate in by_callers.values())
        print(f"| {name} | {told} | {f'{equals[name]:.2f}' if name in equals else ''} |")


def _tell(name: str, rates: Rates) -> None:
    told = ", ".join(f"{callers}: {rate:.2f}" for callers, rate in rates.items())
    print(f"  {name}: {told}", flush=True)


@contextlib.contextmanager
def _rival(rival: Rival, venvs: Path, work: Work) -> Iterator[Callable[[int], None]]:
    if rival.name == "diffusers behind a lock":
        pipeline = LockedPipeline(work.model, getattr(torch, work.dtype))
        yield partial(pipeline.draw, steps=work.steps)
        return
    with peer_server(rival.name, venvs, work) as draw:
        yield draw


def native(folder: str) -> int:
    """The model's native size in pixels (one side)."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    return int(pipeline.unet.config.sample_size * pipeline.vae_scale_factor)
