"""Predicted costs: calibrated and uncalibrated sizes, and under other load."""

from __future__ import annotations

import pytest

from backend.engine.cost import CostModel
from backend.engine.request import BatchKey
from bench.simulator import cost_model, small_model

NATIVE = BatchKey(256, 256, ())
WIDE = BatchKey(256, 512, ())


@pytest.fixture
def cost() -> CostModel:
    return cost_model(small_model, cap=16)


def rate(cost: CostModel, rows: int) -> float:
    return rows / cost.step_ms(256, 256, rows)


class TestABusyMachine:
    def test_slows_what_does_not_run_as_much_as_what_runs(self, cost: CostModel) -> None:
        gain = rate(cost, 8) / rate(cost, 2)
        for _ in range(50):
            cost.observe("step", NATIVE, 2, 2 * small_model(2))
        assert cost.step_ms(256, 256, 2) == pytest.approx(2 * small_model(2), rel=0.02)
        assert cost.step_ms(256, 256, 8) == pytest.approx(2 * small_model(8), rel=0.2)
        assert rate(cost, 8) / rate(cost, 2) == pytest.approx(gain, rel=0.2)

    def test_slows_decodes_too(self, cost: CostModel) -> None:
        before = cost.decode_ms(256, 256)
        for _ in range(50):
            cost.observe("step", NATIVE, 2, 2 * small_model(2))
        assert cost.decode_ms(256, 256) == pytest.approx(2 * before, rel=0.2)

    def test_is_forgotten_when_it_is_over(self, cost: CostModel) -> None:
        for factor in (2, 1):
            for _ in range(50):
                cost.observe("step", NATIVE, 2, factor * small_model(2))
        for rows in (1, 2, 8, 16):
            assert cost.step_ms(256, 256, rows) == pytest.approx(small_model(rows), rel=0.1)

    def test_one_disturbed_step_changes_little(self, cost: CostModel) -> None:
        cost.observe("step", NATIVE, 2, 100 * small_model(2))
        assert cost.step_ms(256, 256, 2) == pytest.approx(small_model(2), rel=0.3)


class TestWhatTheCalibrationGotWrong:
    def test_is_mended_beside_what_it_got_right(self, cost: CostModel) -> None:
        cost.steps[256, 256, 4] *= 2
        for _ in range(400):
            cost.observe("step", NATIVE, 2, small_model(2))
            cost.observe("step", NATIVE, 4, small_model(4))
        assert cost.step_ms(256, 256, 2) == pytest.approx(small_model(2), rel=0.05)
        assert cost.step_ms(256, 256, 4) == pytest.approx(small_model(4), rel=0.05)


class TestASizeNobodyCalibrated:
    def test_is_known_from_its_second_step_on(self, cost: CostModel) -> None:
        cost.observe("step", WIDE, 2, 5000.0)  # compiled
        cost.observe("step", WIDE, 2, 30.0)
        assert cost.step_ms(256, 512, 2) == pytest.approx(30.0)

    def test_does_not_change_what_is_thought_of_the_machine(self, cost: CostModel) -> None:
        for ms in (5000.0, 30.0, 90.0, 30.0):
            cost.observe("step", WIDE, 2, ms)
            cost.observe("decode", WIDE, 0, ms)
        assert cost.step_ms(256, 256, 2) == small_model(2)

    def test_slows_with_the_machine(self, cost: CostModel) -> None:
        cost.observe("step", WIDE, 2, 30.0)
        cost.observe("step", WIDE, 2, 30.0)
        for _ in range(50):
            cost.observe("step", NATIVE, 2, 2 * small_model(2))
        assert cost.step_ms(256, 512, 2) == pytest.approx(60.0, rel=0.2)

    def test_a_first_step_is_not_believed_to_take_for_ever(self, cost: CostModel) -> None:
        predicted = cost.step_ms(256, 512, 2)
        cost.observe("step", WIDE, 2, 60_000.0)
        assert cost.step_ms(256, 512, 2) == pytest.approx(3 * predicted)


def test_an_encode_follows_by_itself(cost: CostModel) -> None:
    cost.encode = 4.0
    cost.observe("encode", None, 0, 8.0)
    assert 4.0 < cost.encode_ms < 8.0
    assert cost.step_ms(256, 256, 2) == small_model(2)


def test_a_step_without_its_size_is_refused(cost: CostModel) -> None:
    with pytest.raises(ValueError, match="give its key"):
        cost.observe("step", None, 2, 1.0)


def test_a_cap_that_memory_lowered_comes_back_when_steps_fit() -> None:
    size = WIDE.height, WIDE.width
    cost = CostModel(caps={size: 16}, steps={(*size, 4): 10.0})

    def steps_until_it_rises() -> int:
        before, steps = cost.max_rows(*size), 0
        while cost.max_rows(*size) == before:
            cost.observe("step", WIDE, 4, 10.0)
            steps += 1
        return steps

    assert cost.ran_out_of_memory(WIDE, 16) == 8
    assert cost.ran_out_of_memory(WIDE, 8) == 4
    first = steps_until_it_rises()
    assert cost.max_rows(*size) == 8
    steps_until_it_rises()
    assert cost.max_rows(*size) == 16
    for _ in range(1000):
        cost.observe("step", WIDE, 4, 10.0)
    assert cost.max_rows(*size) == 16  # and no further
    cost.ran_out_of_memory(WIDE, 16)
    assert steps_until_it_rises() == 2 * first  # it was too early
