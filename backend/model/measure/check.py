"""`python -m backend --check`: compares the speed and accuracy of all runtimes."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch

from backend.config import Settings
from backend.model.checkpoint.components import LoadOptions
from backend.model.checkpoint.open import open_checkpoint
from backend.model.checkpoint.source import resolve_source
from backend.model.choose_runtime import (
    Wanted,
    choose_runtime,
    has_openvino,
    openvino_runtime,
    torch_runtime,
)
from backend.model.devices import count_threads, machine, pick_device, pick_dtype, set_up
from backend.model.measure.fidelity import LOWEST_DB, choose_comparison, draw, median_psnr
from backend.model.runtime.eager import TorchRuntime
from backend.model.runtime.protocol import Runtime

ROUNDS = 2


class Result(NamedTuple):
    """One runtime: minimal seconds per image, and median PSNR in dB against torch in float32."""

    description: str
    seconds: float
    decibels: float


def check(settings: Settings, report: Callable[[str], None]) -> bool:
    """Generate the same images with every runtime, and report speed and PSNR of each.

    Returns:
        Whether the images of the configured runtime match the reference (`LOWEST_DB`).

    Raises:
        ModelFailed: the model can't be loaded.
    """
    source, device = resolve_source(settings), pick_device(settings)
    set_up(settings, device)
    report(f"{source.name} on {machine(device)}, {count_threads(torch.get_num_threads())}")
    reading = LoadOptions(device, torch.float32, False, settings.allow_pickle)
    checkpoint = open_checkpoint(source, reading, settings.data_dir)
    dtype = pick_dtype(settings, device)
    wanted = Wanted(checkpoint.components, settings, dtype, checkpoint.revision)
    picked = choose_runtime(_apart(wanted)).runtime.description
    is_faithful = False
    for result in compare(wanted, report):
        faithful = result.decibels >= LOWEST_DB
        is_picked = result.description == picked
        is_faithful |= is_picked and faithful
        report(
            f"{result.description:44} {result.seconds:8.3f} s per picture {result.decibels:5.0f} dB"
            + ("" if faithful else f"  below {LOWEST_DB:.0f} dB")
            + (f"  <- RUNTIME={settings.runtime}" if is_picked else "")
        )
    return is_faithful


def compare(wanted: Wanted, report: Callable[[str], None]) -> Iterator[Result]:
    """Results of the runtimes that work here, the reference first; failures go to `report`."""
    components = wanted.components
    reference = TorchRuntime(components)
    comparison = choose_comparison(components, reference)
    expected = draw(components, reference, comparison)
    for name, build in _candidates(wanted, reference):
        try:
            runtime = build()
            draw(components, runtime, comparison)  # compiles
            seconds = []
            for _ in range(ROUNDS):
                started = time.perf_counter()
                pictures = draw(components, runtime, comparison)
                seconds.append((time.perf_counter() - started) / len(pictures))
        except Exception as error:
            report(f"{name} does not run here: {error}")
        else:
            yield Result(runtime.description, min(seconds), median_psnr(pictures, expected))


def _candidates(
    wanted: Wanted, reference: TorchRuntime
) -> Iterator[tuple[str, Callable[[], Runtime]]]:
    yield "torch in float32", lambda: reference
    if wanted.dtype != torch.float32:
        yield f"torch in {wanted.dtype}", lambda: torch_runtime(_apart(wanted))
    if wanted.components.device.type == "cpu" and has_openvino():
        from backend.model.openvino.convert import precisions

        for precision in reversed(precisions()):
            yield f"openvino in {precision}", partial(openvino_runtime, wanted, precision)


def _apart(wanted: Wanted) -> Wanted:
    """A copy with its own networks, whose dtype can be changed."""
    networks = copy.deepcopy(wanted.components.networks)
    return wanted._replace(components=replace(wanted.components, read=lambda: networks))
