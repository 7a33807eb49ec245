"""The figure for LoRAs is found in three minutes, both runtimes together."""

from __future__ import annotations

import pytest

from bench.adapters import FEWEST_ROUNDS, MOST_S, RUNTIMES, affordable


@pytest.mark.parametrize("step_s", [0.001, 0.05, 0.5])
def test_a_slow_machine_takes_fewer_rounds(step_s: float) -> None:
    rounds = affordable(step_s, 500)
    assert FEWEST_ROUNDS <= rounds <= 500
    assert 2 * rounds * step_s <= MOST_S
    assert len(RUNTIMES) * MOST_S < 180


def test_a_very_slow_one_still_takes_enough_to_compare() -> None:
    assert affordable(10.0, 500) == FEWEST_ROUNDS
