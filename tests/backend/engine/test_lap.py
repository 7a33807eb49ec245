"""Times of an asynchronous device are charged to the right requests once they are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from backend.engine.cost import CostModel, Kind
from backend.engine.engine import Engine
from backend.engine.protocols import Picture
from backend.engine.request import BatchKey
from backend.engine.scheduler import Scheduler
from backend.errors import DeviceLost
from backend.params import GenerationParams
from tests.support.fakes import SIZE, FakeModel, FakeTrajectory, RecordingObserver, fake_request

ENCODE_MS, STEP_MS, DECODE_MS = 5.0, 20.0, 12.0


class Device:
    """Does what it is given one after another, and is waited for now and then."""

    queued_ms = 0.0
    done_ms = 0.0


class Lap:
    def __init__(self, device: Device) -> None:
        self._device = device
        self.is_typical = True
        self._from_ms, self._to_ms = device.queued_ms, 0.0

    def stop(self) -> None:
        self._to_ms = self._device.queued_ms

    def ms(self) -> float | None:
        return self._to_ms - self._from_ms if self._device.done_ms >= self._to_ms else None


class LateModel(FakeModel):
    """Its calls return at once, and its device is a step behind."""

    device = Device()
    captures_in_step = -1

    def start_lap(self) -> Any:
        self.lap = Lap(self.device)
        return self.lap

    def prepare(
        self, params: GenerationParams, index: int, source: str | None = None
    ) -> FakeTrajectory:
        self.device.queued_ms += ENCODE_MS
        return super().prepare(params, index)

    def denoise_step(self, trajectories: Sequence[FakeTrajectory]) -> list[Exception | None]:
        self.device.done_ms = self.device.queued_ms  # waits for the step before
        if len(self.batches) == self.captures_in_step:
            self.device.queued_ms += 1000.0
            self.lap.is_typical = False
        self.device.queued_ms += STEP_MS
        return super().denoise_step(trajectories)

    def decode(self, trajectory: FakeTrajectory) -> Picture:
        self.device.queued_ms += DECODE_MS
        self.device.done_ms = self.device.queued_ms  # waits for the pixels
        return super().decode(trajectory)


@dataclass
class Observed(CostModel):
    seen: list[tuple[Kind, float]] = field(default_factory=list)

    def observe(self, kind: Kind, key: BatchKey | None, rows: int, ms: float) -> None:
        self.seen.append((kind, ms))


def run(model: LateModel) -> tuple[Observed, RecordingObserver]:
    cost, observer = Observed(caps={(SIZE, SIZE): 2}), RecordingObserver()
    engine = Engine(model, Scheduler(cost, max_queue=10), cost, observer)
    engine.add(fake_request(num_inference_steps=3))
    work(engine)
    return cost, observer


def work(engine: Engine) -> None:
    while engine.step():
        pass


def test_each_piece_of_work_is_charged_its_own_time() -> None:
    cost, observer = run(LateModel())
    assert cost.seen == [("encode", ENCODE_MS), *[("step", STEP_MS)] * 3, ("decode", DECODE_MS)]
    (timings,) = observer.timings.values()
    assert timings.encode_ms == pytest.approx(ENCODE_MS)
    assert timings.denoise_ms == pytest.approx(3 * STEP_MS)
    assert timings.decode_ms == pytest.approx(DECODE_MS)


def test_a_step_that_captured_teaches_nothing() -> None:
    model = LateModel()
    model.captures_in_step = 1
    cost, observer = run(model)
    assert [ms for kind, ms in cost.seen if kind == "step"] == [STEP_MS] * 2
    (timings,) = observer.timings.values()
    assert timings.denoise_ms == pytest.approx(3 * STEP_MS + 1000.0)  # but it was waited for


@pytest.mark.parametrize("place", ["prepare", "denoise_step", "decode", "preview"])
def test_a_lost_device_is_no_requests_fault(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise DeviceLost("gone")

    model, observer, cost = FakeModel(), RecordingObserver(), CostModel()
    monkeypatch.setattr(model, place, lost)
    engine = Engine(model, Scheduler(cost, max_queue=10), cost, observer)
    engine.add(fake_request(preview_interval=1))
    with pytest.raises(DeviceLost):
        work(engine)
    assert not observer.errors
