"""What the calibration concludes from measurements, on a machine that is made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backend.engine.calibration import Calibration, CalibrationStore, SizeCosts, calibrate
from backend.engine.cost import CostModel
from backend.engine.request import BatchKey


@dataclass
class FakeMachine:
    """Takes as long as `step_ms` says, on a clock of its own."""

    step_ms: Callable[[int], float]
    equal: frozenset[int] = frozenset({1, 2, 4, 8, 16, 32})
    fills_up: bool = False
    row_bytes: int = 0
    now_s: float = 0.0
    asked: list[int] = field(default_factory=list)

    def step(self, height: int, width: int, rows: int) -> None:
        self.asked.append(rows)
        self.now_s += self.step_ms(rows) / 1000

    def decode(self, height: int, width: int) -> None:
        self.now_s += 0.007

    def encode(self) -> None:
        self.now_s += 0.002

    def bucket(self, rows: int) -> int:
        return 1 << (rows - 1).bit_length() if self.fills_up else rows

    def certified(self, height: int, width: int, counts: Iterable[int]) -> frozenset[int]:
        return frozenset(counts) & self.equal

    def step_bytes(self, height: int, width: int, rows: int) -> int:
        return rows * self.row_bytes

    def clock(self) -> float:
        return self.now_s


def measure(machine: FakeMachine) -> SizeCosts:
    (size,) = calibrate(machine, 128, 128, machine.clock).sizes
    return size


def small_model(rows: int) -> float:
    return {1: 12.5, 2: 13.0, 4: 15.0, 8: 28.0, 16: 49.0, 32: 106.0}[rows]


class TestCap:
    def test_at_the_knee(self) -> None:
        assert measure(FakeMachine(small_model)).cap == 16

    def test_one_image_where_batching_gains_nothing(self) -> None:
        machine = FakeMachine(lambda rows: 50.0 * rows)
        assert measure(machine).cap == 2
        assert max(machine.asked) == 4  # two disappointments are enough

    def test_a_slow_model_is_not_asked_for_more_than_an_image(self) -> None:
        machine = FakeMachine(lambda rows: 400.0 * rows)
        assert measure(machine).cap == 2
        assert max(machine.asked) == 2

    def test_a_very_slow_model_is_measured_once(self) -> None:
        machine = FakeMachine(lambda rows: 6000.0 * rows)
        size = measure(machine)
        assert machine.asked == [1, 1, 2, 2]  # the first of each compiles
        assert size.steps == {1: pytest.approx(6000.0), 2: pytest.approx(12_000.0)}

    def test_one_disturbed_measurement_does_not_end_the_search(self) -> None:
        disturbed = {1: 12.0, 2: 13.0, 4: 40.0, 8: 20.0, 16: 40.0, 32: 80.0}
        assert measure(FakeMachine(disturbed.__getitem__)).cap == 8


class TestCosts:
    def test_of_decode_and_encode(self) -> None:
        machine = FakeMachine(small_model)
        calibration = calibrate(machine, 128, 128, machine.clock)
        assert calibration.encode_ms == pytest.approx(2.0)
        assert calibration.sizes[0].decode_ms == pytest.approx(7.0)

    def test_a_bucket_half_full_costs_the_same(self) -> None:
        size = measure(FakeMachine(small_model, fills_up=True))
        assert size.steps[5] == pytest.approx(28.0)
        assert size.certified == list(range(1, 17))

    def test_only_what_was_measured_is_known_where_nothing_is_filled_up(self) -> None:
        size = measure(FakeMachine(small_model, equal=frozenset({1, 2, 4})))
        assert sorted(size.steps) == [1, 2, 4, 8, 16]
        assert size.certified == [1, 2, 4]

    def test_certified_counts_reach_the_scheduler(self) -> None:
        machine = FakeMachine(small_model, equal=frozenset({1, 2, 4}))
        calibration = calibrate(machine, 128, 128, machine.clock)
        certified = calibration.cost_model(certified=True)
        assert certified.allowed_rows(128, 128, alone=2) == {1, 2, 4}
        assert certified.allowed_rows(64, 64, alone=2) == {2}  # not measured: alone
        assert calibration.cost_model(certified=False).allowed_rows(128, 128, alone=2) is None

    def test_the_settings_limit_the_cap(self) -> None:
        machine = FakeMachine(small_model)
        calibration = calibrate(machine, 128, 128, machine.clock)
        assert calibration.cost_model(certified=False, most_rows=4).max_rows(128, 128) == 4


class TestMemory:
    def costs(self, free_bytes: int, row_bytes: int = 100) -> CostModel:
        machine = FakeMachine(small_model, row_bytes=row_bytes)
        cost = calibrate(machine, 128, 128, machine.clock).cost_model(certified=False)
        cost.free_bytes = free_bytes
        return cost

    def test_a_batch_is_no_larger_than_fits(self) -> None:
        assert self.costs(free_bytes=10_000).max_rows(128, 128) == 16
        assert self.costs(free_bytes=900).max_rows(128, 128) == 9
        assert self.costs(free_bytes=50).max_rows(128, 128) == 2  # its step shows whether it fits

    def test_another_size_takes_memory_by_its_pixels(self) -> None:
        assert self.costs(free_bytes=800).max_rows(64, 128) == 16
        assert self.costs(free_bytes=800).max_rows(128, 192) == 5

    def test_no_limit_where_memory_is_not_counted(self) -> None:
        assert self.costs(free_bytes=0, row_bytes=0).max_rows(128, 128) == 16


class TestRefreshing:
    def test_takes_over_what_steps_have_come_to_cost_beside_each_other(self) -> None:
        machine = FakeMachine(small_model)
        calibration = calibrate(machine, 128, 128, machine.clock)
        cost = calibration.cost_model(certified=True)
        for _ in range(300):
            cost.observe("step", BatchKey(128, 128, ()), 2, small_model(2))
            cost.observe("step", BatchKey(128, 128, ()), 4, 2 * small_model(4))
        size = calibration.refreshed(cost).sizes[0]
        assert size.steps[4] / size.steps[2] == pytest.approx(2 * 15 / 13, rel=0.05)
        assert size.cap == calibration.sizes[0].cap

    def test_a_busy_machine_does_not_last(self) -> None:
        machine = FakeMachine(small_model)
        calibration = calibrate(machine, 128, 128, machine.clock)
        cost = calibration.cost_model(certified=True)
        for _ in range(30):
            cost.observe("step", BatchKey(128, 128, ()), 2, 3 * small_model(2))
        assert cost.step_ms(128, 128, 2) == pytest.approx(3 * small_model(2), rel=0.05)
        kept = calibration.refreshed(cost).sizes[0]
        assert kept.steps[2] == pytest.approx(small_model(2), rel=0.25)

    def test_leaves_what_was_not_seen_again(self) -> None:
        machine = FakeMachine(small_model, fills_up=True)
        calibration = calibrate(machine, 128, 128, machine.clock)
        assert calibration.refreshed(calibration.cost_model(certified=False)) == calibration


class TestStore:
    calibration = Calibration(2.0, [SizeCosts(128, 64, {1: 12.5, 2: 13.0}, 7.0, 2, [1, 2])])

    def test_comes_back_as_it_was(self, tmp_path: Path) -> None:
        CalibrationStore(tmp_path, {"torch": "2"}).save(self.calibration)
        assert CalibrationStore(tmp_path, {"torch": "2"}).load() == self.calibration

    def test_another_make_is_measured_anew(self, tmp_path: Path) -> None:
        CalibrationStore(tmp_path, {"torch": "2"}).save(self.calibration)
        assert CalibrationStore(tmp_path, {"torch": "3"}).load() is None

    @pytest.mark.parametrize("broken", ["", "{}", '{"make": {"torch": "2"}, "sizes": 3}'])
    def test_a_broken_file_is_measured_anew(self, tmp_path: Path, broken: str) -> None:
        store = CalibrationStore(tmp_path, {"torch": "2"})
        store.save(self.calibration)
        (path,) = (tmp_path / "calibration").iterdir()
        assert json.loads(path.read_text())["make"] == {"torch": "2"}
        path.write_text(broken)
        assert store.load() is None
