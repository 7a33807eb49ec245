"""A clock that ticks every 15.6 ms, as time.monotonic does on Windows: steps take no time."""

from __future__ import annotations

import math
import time

import pytest

from backend.engine.calibration import Calibration, SizeCosts
from backend.engine.cost import CostModel
from backend.engine.engine import Engine
from backend.engine.request import BatchKey
from backend.engine.scheduler import Scheduler
from tests.support.fakes import FakeModel, RecordingObserver, fake_request

TICK_S = 0.015625
NATIVE = BatchKey(64, 64, ())


def coarse_clock() -> float:
    return math.floor(time.perf_counter() / TICK_S) * TICK_S


@pytest.mark.parametrize("size", [64, 80, 96])
def test_sizes_that_nobody_calibrated_are_drawn(size: int) -> None:
    cost, told = CostModel(), RecordingObserver()
    cost.observe("step", NATIVE, 2, 3.5)
    engine = Engine(FakeModel(), Scheduler(cost, max_queue=10), cost, told, coarse_clock)
    for number in range(3):
        engine.add(fake_request(f"r{number}", height=size, width=size))
        while engine.step():
            pass
    assert len(told.timings) == 3
    assert 0 < cost.step_ms(size, size, 1) < 1000
    assert 0 < cost.decode_ms(size, size) < 1000


def test_measurements_of_nothing_do_not_ruin_the_costs() -> None:
    """Of a 3.5 ms step, some are measured as 0 and some as a tick."""
    cost = CostModel(steps={(64, 64, 2): 3.5}, decodes={(64, 64): 3.5})
    for _ in range(2000):
        cost.observe("step", NATIVE, 2, 0.0)
        cost.observe("decode", NATIVE, 0, 0.0)
    assert cost.step_ms(64, 64, 2) > 0
    assert cost.decode_ms(64, 64) > 0
    for _ in range(200):
        cost.observe("step", NATIVE, 2, 3.5)
    assert cost.step_ms(64, 64, 2) == pytest.approx(3.5, rel=0.3)


def test_a_calibration_that_was_ruined_and_kept_still_predicts() -> None:
    kept = Calibration(1.0, [SizeCosts(64, 64, {1: 0.0, 2: 0.0}, 0.0, 2, [1, 2])])
    cost = kept.cost_model(certified=True)
    cost.observe("step", NATIVE, 2, 3.5)
    cost.observe("decode", NATIVE, 0, 3.5)
    assert cost.step_ms(96, 96, 4) > 0
