"""What a load on a demo session tells, also where it did not end in time."""

from __future__ import annotations

from bench.session_figures import Load, Measured

LOAD = Load(guests=2, pictures=2, idle=1)


def test_a_load_that_met_all_budgets_has_no_problems() -> None:
    seen = Measured([[1, 3], [2, 2]], [0.1] * 4, 1000, 10.0, idle_open=1, delivered=4)
    assert seen.problems(LOAD) == []
    assert "| Pictures delivered | 4 of 4, in 10 s | all |" in seen.table(LOAD)
    assert "| Waiting time, median and most | 2 s and 3 s |  |" in seen.table(LOAD)


def test_where_the_time_was_up_it_says_so_and_what_was_seen() -> None:
    seen = Measured(wall_s=5.0, timed_out=True)
    assert "not done after 5 s" in seen.problems(LOAD)
    assert "| Pictures delivered | 0 of 4, in 5 s | all |" in seen.table(LOAD)


def test_who_waits_longer_than_others_lowers_the_index() -> None:
    assert Measured([[1], [1]]).fairness == 1
    assert Measured([[1], [3]]).fairness == 0.8
