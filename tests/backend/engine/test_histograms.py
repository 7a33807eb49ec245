"""What is counted of steps and requests, since the start and over the last hour."""

from backend.engine.histograms import Recorder
from backend.engine.statistics import Statistics


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_each_value_is_counted_in_the_bucket_whose_bound_it_reaches() -> None:
    recorder = Recorder("rows", (1, 2, 4))
    for value in (0.5, 1, 1.5, 2, 3, 4, 5, 100):
        recorder.observe(value)
    found = recorder.since_start()
    assert found.counts == (2, 2, 2, 2)
    assert found.bounds == (1.0, 2.0, 4.0)
    assert found.sum == 117
    assert recorder.last_hour() == found


def test_the_last_hour_forgets_and_the_whole_does_not() -> None:
    clock = Clock()
    recorder = Recorder("x", (10,), clock)
    recorder.observe(1)
    clock.now_s = 3000
    recorder.observe(2)
    assert recorder.last_hour().sum == 3
    clock.now_s = 3700
    assert recorder.last_hour().sum == 2
    clock.now_s = 10_000
    assert recorder.last_hour().counts == (0, 0)
    assert recorder.since_start().sum == 3


def test_an_hour_of_many_values_takes_a_minute_s_room_each() -> None:
    clock = Clock()
    recorder = Recorder("x", (10,), clock)
    for number in range(20_000):
        clock.now_s = number * 0.5
        recorder.observe(1)
    assert len(recorder._minutes) <= 61
    assert 7100 <= recorder.last_hour().counts[0] <= 7200


def test_steps_and_their_rows_are_told_by_name() -> None:
    statistics = Statistics()
    statistics.stepped(0.03, 8)
    told = {found.name: found for found in statistics.last_hour}
    assert told["step_seconds"].sum == 0.03
    assert told["batch_rows"].sum == 8
    assert sum(told["wait_seconds"].counts) == 0
