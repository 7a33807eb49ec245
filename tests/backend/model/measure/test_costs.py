"""Costs: cached ones at the start, measuring in idle time, and saving for the next start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from backend.config import Settings
from backend.engine import calibration
from backend.engine.loading import EngineStopped
from backend.errors import OutOfMemory
from backend.model.measure import costs as module
from backend.model.measure.costs import Costs
from backend.model.measure.subject import ModelSubject
from backend.model.pipeline import LatentDiffusion

T = TypeVar("T")


class Idle:
    """Idle time without end, or that ends after some runs; nobody sleeps."""

    def __init__(self, runs: int = 1_000_000) -> None:
        self.left = runs
        self.slept_s: list[float] = []

    def run(self, work: Callable[[], T]) -> T:
        self.left -= 1
        if self.left < 0:
            raise EngineStopped
        return work()

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(calibration, "AGREEMENT", 1e9)  # the machine is shared with other tests
    monkeypatch.setattr(calibration.Round, "cap", 4)
    monkeypatch.setattr(calibration, "MOST_ROWS", 4)
    return Settings(data_dir=tmp_path)


def test_one_image_at_a_time_until_it_is_measured(
    tiny_diffusion: LatentDiffusion, settings: Settings
) -> None:
    costs = Costs(tiny_diffusion, settings)
    assert costs.model.max_rows(64, 64) == 2
    assert set(costs.model.allowed_rows(64, 64, alone=2) or ()) == {2}
    before = costs.model
    costs.calibrate(idle := Idle())
    assert idle.slept_s[0] == module.GRACE_S
    assert costs.model is before  # the engine holds it
    assert costs.model.max_rows(64, 64) == 4
    assert costs.model.is_measured(64, 64)
    assert {1, 2} <= set(costs.model.allowed_rows(64, 64, alone=2) or ())


def test_the_next_start_recalls_it_and_batches_once_all_is_compiled(
    tiny_diffusion: LatentDiffusion, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    Costs(tiny_diffusion, settings).calibrate(Idle())
    costs = Costs(tiny_diffusion, settings)
    assert costs.model.is_measured(64, 64)
    assert costs.model.max_rows(64, 64) == 2
    compiled: list[int] = []
    monkeypatch.setattr(ModelSubject, "warm", lambda _, height, width, rows: compiled.append(rows))
    costs.calibrate(Idle())
    assert compiled == [4]
    assert costs.model.max_rows(64, 64) == 4


def test_a_machine_too_busy_to_be_measured_is_measured_again_next_time(
    tiny_diffusion: LatentDiffusion, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "AGREEMENT", 0.0)
    monkeypatch.setattr(calibration, "PAUSES_S", (0.0, 0.0))
    costs = Costs(tiny_diffusion, settings)
    costs.calibrate(Idle())
    assert costs.model.is_measured(64, 64)
    costs.keep()
    assert not Costs(tiny_diffusion, settings).model.is_measured(64, 64)


@pytest.mark.parametrize("runs", [0, 5])
def test_a_stop_in_the_middle_leaves_nothing_behind(
    tiny_diffusion: LatentDiffusion, settings: Settings, runs: int
) -> None:
    costs = Costs(tiny_diffusion, settings)
    costs.calibrate(Idle(runs))
    costs.keep()
    assert list(settings.data_dir.glob("calibration/*")) == []


def test_what_goes_wrong_is_logged_and_costs_only_batching(
    tiny_diffusion: LatentDiffusion,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> float:
        raise OutOfMemory("no memory")

    monkeypatch.setattr(ModelSubject, "step", fail)
    costs = Costs(tiny_diffusion, settings)
    costs.calibrate(Idle())
    assert "calibration failed" in caplog.text
    assert costs.model.max_rows(64, 64) == 2


def test_what_steps_have_really_taken_is_kept(
    tiny_diffusion: LatentDiffusion, settings: Settings
) -> None:
    costs = Costs(tiny_diffusion, settings)
    costs.calibrate(Idle())
    costs.model.steps[64, 64, 2] = 123.0
    costs.keep()
    assert Costs(tiny_diffusion, settings).model.steps[64, 64, 2] == 123.0
