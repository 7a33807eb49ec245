"""What the process uses, in the units that the contract names."""

from __future__ import annotations

import threading
import time

import psutil

from backend.resources import ResourceReader


def test_cpu_percent_is_of_all_cores_together() -> None:
    """Two busy threads of pure Python are one busy core, at most."""
    reader = ResourceReader(clock=lambda: time.monotonic() * 1e6)  # every read is a new one
    until = time.monotonic() + 0.5

    def work() -> None:
        while time.monotonic() < until:
            pass

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    percent = reader.read().cpu_percent
    assert 0 < percent <= 100 * 1.5 / (psutil.cpu_count() or 1)
