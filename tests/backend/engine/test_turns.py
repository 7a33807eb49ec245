"""Turns on a device go to whoever waits longest."""

from __future__ import annotations

import threading
import time

from backend.engine.turns import Turns


def test_they_go_in_the_order_of_asking() -> None:
    turns, order, threads = Turns(), list[int](), list[threading.Thread]()

    def take(number: int) -> None:
        with turns:
            order.append(number)

    with turns:
        for number in range(5):
            threads.append(threading.Thread(target=take, args=(number,)))
            threads[-1].start()
            while len(turns._waiting) <= number:
                time.sleep(0.001)
        assert order == []
    for thread in threads:
        thread.join(20)
    assert order == [0, 1, 2, 3, 4]


def test_one_at_a_time_and_a_failure_gives_it_back() -> None:
    turns, inside, most = Turns(), 0, 0

    def take() -> None:
        nonlocal inside, most
        for _ in range(200):
            try:
                with turns:
                    inside += 1
                    most = max(most, inside)
                    inside -= 1
                    raise ValueError
            except ValueError:
                pass

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == 1
    with turns:
        pass
