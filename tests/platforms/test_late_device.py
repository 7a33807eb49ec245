"""Apple's GPU: calls return before it has computed. What is measured waits for it."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import pytest
import torch

from backend.config import Settings
from backend.model import devices
from backend.model.devices import pick_device
from backend.model.lap import DeviceLap, wait_for
from backend.model.measure.subject import _timed

STEP_S = 0.02
MODEL = "someone/model"


class Late:
    """A device that takes `STEP_S` for whatever it was asked before."""

    busy_until_s = 0.0

    def ask(self) -> None:
        self.busy_until_s = max(self.busy_until_s, time.perf_counter()) + STEP_S


class Event:
    device: Late

    def __init__(self, enable_timing: bool = False) -> None:
        self.at_s = 0.0

    def record(self) -> None:
        self.at_s = max(self.device.busy_until_s, time.perf_counter())

    def query(self) -> bool:
        return time.perf_counter() >= self.at_s

    def synchronize(self) -> None:
        time.sleep(max(0.0, self.at_s - time.perf_counter()))

    def elapsed_time(self, end: Event) -> float:
        return (end.at_s - self.at_s) * 1000


class Output(NamedTuple):
    device: torch.device


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Late:
    late = Late()
    monkeypatch.setattr(Event, "device", late, raising=False)
    monkeypatch.setattr(torch.mps, "Event", Event)
    return late


def test_the_calibration_waits_for_the_device(late: Late) -> None:
    def network() -> Any:
        late.ask()
        return Output(torch.device("mps"))

    assert _timed(network) >= STEP_S * 1000


def test_a_step_is_charged_what_the_device_took_for_it(late: Late) -> None:
    mps = torch.device("mps")
    late.ask()  # a step before
    lap = DeviceLap(mps, lambda: 0)
    late.ask()
    lap.stop()
    assert lap.ms() is None
    wait_for(mps)
    assert lap.ms() == pytest.approx(STEP_S * 1000, abs=2)


@pytest.mark.parametrize(
    ("mps_s", "error", "model", "expected"),
    [
        (0.01, 0.0, MODEL, "mps"),
        (9.0, 0.0, MODEL, "cpu"),  # slower than the CPU
        (0.01, 1.0, MODEL, "cpu"),  # wrong
        (0.01, 0.0, "auto", "cpu"),  # the embedded model: exact there, and quick
    ],
)
def test_metal_is_picked_where_it_computes_and_sooner(
    monkeypatch: pytest.MonkeyPatch, mps_s: float, error: float, model: str, expected: str
) -> None:
    def probe(device: str) -> tuple[torch.Tensor, float]:
        return torch.ones(3) + (error if device == "mps" else 0.0), mps_s if device == "mps" else 1

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(devices, "probe", probe)
    assert pick_device(Settings(device="auto", model=model)).type == expected
