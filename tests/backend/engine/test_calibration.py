"""The calibration, with simulated measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

import pytest

from backend.disk_cache import DiskCache
from backend.engine.calibration import Calibration, SizeCosts, calibrate
from backend.engine.cost import CostModel
from backend.engine.request import BatchKey
from backend.errors import OutOfMemory


@dataclass
class FakeMachine:
    """Takes as long as `step_ms` says; `busy` slows each round down by its factor."""

    step_ms: Callable[[int], float]
    equal: frozenset[int] = frozenset({1, 2, 4, 8, 16, 32})
    fills_up: bool = False
    row_bytes: int = 0
    most_rows: int = 1000  # that fit into memory
    busy: Iterator[float] = field(default_factory=lambda: repeat(1.0))
    asked: list[int] = field(default_factory=list)
    probed: list[int] = field(default_factory=list)
    pauses_s: list[float] = field(default_factory=list)
    slower: float = 1.0

    def pause(self, seconds: float) -> None:
        self.pauses_s.append(seconds)
        self.slower = next(self.busy)

    def warm(self, height: int, width: int, rows: int) -> None:
        pass

    def step(self, height: int, width: int, rows: int) -> float:
        self.asked.append(rows)
        if rows > self.most_rows:
            raise OutOfMemory("too many")
        return self.slower * self.step_ms(rows)

    def decode(self, height: int, width: int) -> float:
        return self.slower * 7.0

    def encode(self) -> float:
        return self.slower * 2.0

    def bucket(self, rows: int) -> int:
        return 1 << (rows - 1).bit_length() if self.fills_up else rows

    def certified(self, height: int, width: int, counts: Iterable[int]) -> frozenset[int]:
        counts = list(counts)
        self.probed += counts
        return frozenset(counts) & self.equal

    def step_bytes(self, height: int, width: int, rows: int) -> int:
        return rows * self.row_bytes


def calibrated(machine: FakeMachine) -> Calibration:
    calibration = calibrate(machine, 128, 128, pause=machine.pause)
    assert calibration is not None
    return calibration


def measure(machine: FakeMachine) -> SizeCosts:
    (size,) = calibrated(machine).sizes
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
        assert machine.asked == 2 * [1, 1, 2, 2]  # two rounds; the first of each allocates
        assert size.steps == {1: pytest.approx(6000.0), 2: pytest.approx(12_000.0)}

    def test_one_disturbed_measurement_does_not_end_the_search(self) -> None:
        disturbed = {1: 12.0, 2: 13.0, 4: 40.0, 8: 20.0, 16: 40.0, 32: 80.0}
        assert measure(FakeMachine(disturbed.__getitem__)).cap == 8


class TestCosts:
    def test_of_decode_and_encode(self) -> None:
        machine = FakeMachine(small_model)
        calibration = calibrated(machine)
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
        calibration = calibrated(machine)
        certified = calibration.cost_model(certified=True)
        assert certified.allowed_rows(128, 128, alone=2) == {1, 2, 4}
        assert certified.allowed_rows(64, 64, alone=2) == {2}  # not measured: alone
        assert calibration.cost_model(certified=False).allowed_rows(128, 128, alone=2) is None

    def test_the_settings_limit_the_cap(self) -> None:
        machine = FakeMachine(small_model)
        calibration = calibrated(machine)
        assert calibration.cost_model(certified=False, most_rows=4).max_rows(128, 128) == 4


class TestMemory:
    def costs(self, free_bytes: int, row_bytes: int = 100) -> CostModel:
        machine = FakeMachine(small_model, row_bytes=row_bytes)
        cost = calibrated(machine).cost_model(certified=False)
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
        calibration = calibrated(machine)
        cost = calibration.cost_model(certified=True)
        for _ in range(300):
            cost.observe("step", BatchKey(128, 128, ()), 2, small_model(2))
            cost.observe("step", BatchKey(128, 128, ()), 4, 2 * small_model(4))
        size = calibration.refreshed(cost).sizes[0]
        assert size.steps[4] / size.steps[2] == pytest.approx(2 * 15 / 13, rel=0.05)
        assert size.cap == calibration.sizes[0].cap

    def test_a_busy_machine_does_not_last(self) -> None:
        machine = FakeMachine(small_model)
        calibration = calibrated(machine)
        cost = calibration.cost_model(certified=True)
        for _ in range(30):
            cost.observe("step", BatchKey(128, 128, ()), 2, 3 * small_model(2))
        assert cost.step_ms(128, 128, 2) == pytest.approx(3 * small_model(2), rel=0.05)
        kept = calibration.refreshed(cost).sizes[0]
        assert kept.steps[2] == pytest.approx(small_model(2), rel=0.25)

    def test_leaves_what_was_not_seen_again(self) -> None:
        machine = FakeMachine(small_model, fills_up=True)
        calibration = calibrated(machine)
        assert calibration.refreshed(calibration.cost_model(certified=False)) == calibration


class TestRounds:
    def test_two_that_agree_are_enough(self) -> None:
        machine = FakeMachine(small_model)
        calibrated(machine)
        assert machine.pauses_s == [0.0, 2.0]

    def test_a_busy_start_is_measured_until_it_is_quiet(self) -> None:
        machine = FakeMachine(small_model, busy=iter([5.0, 3.0, 1.8, 1.0, 1.1]))
        size = measure(machine)
        assert len(machine.pauses_s) == 5
        assert size.steps[2] == pytest.approx(small_model(2))

    def test_what_a_disturbance_hid_is_found_in_the_next_round(self) -> None:
        rounds = iter([{1: 12.0, 2: 24.0, 4: 60.0, 8: 130.0, 16: 260.0, 32: 520.0}])
        curve: dict[int, float] = next(rounds)
        found: list[int] = []

        def step_ms(rows: int) -> float:
            return curve[rows] if len(machine.pauses_s) == 1 else small_model(rows)

        machine = FakeMachine(step_ms)
        calibration = calibrate(
            machine, 128, 128, pause=machine.pause, use=lambda c: found.append(c.sizes[0].cap)
        )
        assert found == [2, 16, 16]
        assert calibration is not None
        assert calibration.sizes[0].cap == 16

    def test_never_quiet_is_not_kept_but_used(self) -> None:
        machine = FakeMachine(small_model, busy=iter([64.0, 32.0, 16.0, 8.0, 4.0, 2.0]))
        used: list[Calibration] = []
        assert calibrate(machine, 128, 128, pause=machine.pause, use=used.append) is None
        assert used[-1].sizes[0].steps[1] == pytest.approx(2 * small_model(1))

    def test_a_row_count_is_certified_once(self) -> None:
        machine = FakeMachine(small_model)
        calibrated(machine)
        assert machine.probed == [1, 2, 4, 8, 16]

    def test_what_does_not_fit_ends_the_search(self) -> None:
        machine = FakeMachine(small_model, most_rows=4)
        assert measure(machine).cap == 4
        with pytest.raises(OutOfMemory):
            calibrate(FakeMachine(small_model, most_rows=0), 128, 128, pause=lambda _: None)


def test_it_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    calibration = Calibration(2.0, [SizeCosts(128, 64, {1: 12.5, 2: 13.0}, 7.0, 2, [1, 2])])
    cache = DiskCache(tmp_path, "calibration", {"torch": "2"}, Calibration)
    cache.save(calibration)
    assert cache.load() == calibration
