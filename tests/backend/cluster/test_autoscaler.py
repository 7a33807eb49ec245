"""When replicas come and go."""

from __future__ import annotations

import pytest

from backend.cluster.autoscaler import PATIENCE_S, Autoscaler


def scaler() -> Autoscaler:
    return Autoscaler(least=1, most=4, up_s=10.0, down_s=60.0)


def test_a_burst_that_passes_adds_nothing() -> None:
    subject = scaler()
    assert subject.wanted(0.0, 1, 0, 100.0) == 1
    assert subject.wanted(1.0, 1, 0, 5.0) == 1
    assert subject.wanted(PATIENCE_S + 0.5, 1, 0, 100.0) == 1


@pytest.mark.parametrize(
    ("wait_s", "running", "starting", "wanted"),
    [
        (11.0, 1, 0, 2),
        (25.0, 1, 0, 3),
        (500.0, 1, 0, 4),  # no more than may be
        (15.0, 2, 0, 3),
        (15.0, 2, 2, 4),  # those that start are counted
        (9.0, 2, 0, 2),
        (0.0, 0, 0, 1),
    ],
)
def test_a_queue_that_stays_too_long_adds_what_it_justifies(
    wait_s: float, running: int, starting: int, wanted: int
) -> None:
    subject = scaler()
    subject.wanted(0.0, running, starting, wait_s)
    assert subject.wanted(PATIENCE_S, running, starting, wait_s) == wanted


@pytest.mark.parametrize(
    ("present", "idle_since_s", "is_spare"),
    [(2, 0.0, True), (2, 50.0, False), (2, None, False), (1, 0.0, False)],
)
def test_an_idle_replica_goes_but_never_the_last(
    present: int, idle_since_s: float | None, is_spare: bool
) -> None:
    assert scaler().is_spare(100.0, present, idle_since_s) is is_spare
