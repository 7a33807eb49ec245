"""Resource usage in the documented units; GPUs without sensors or not visible to us."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import psutil
import pynvml
import pytest

from backend.resources import ResourceReader

UUIDS = ("aaaa", "bbbb")
GIB = 1 << 30


def unsupported(*_: object) -> None:
    raise pynvml.NVMLError_NotSupported


@pytest.fixture
def boards(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Two boards, known by their numbers."""
    for name, fake in {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: len(UUIDS),
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda index: f"Board {index}",
        "nvmlDeviceGetUUID": lambda index: f"GPU-{UUIDS[index]}",
        "nvmlDeviceGetMemoryInfo": lambda index: SimpleNamespace(total=8 * GIB, used=index * GIB),
        "nvmlDeviceGetUtilizationRates": lambda index: SimpleNamespace(gpu=50 + index),
        "nvmlDeviceGetTemperature": lambda index, sensor: 60 + index,
    }.items():
        monkeypatch.setattr(pynvml, name, fake)
    return monkeypatch


@pytest.mark.parametrize(
    ("sensor", "field", "others"),
    [
        ("nvmlDeviceGetUtilizationRates", "utilization_percent", ("memory_bytes",)),
        ("nvmlDeviceGetMemoryInfo", "memory_bytes", ("utilization_percent",)),
        ("nvmlDeviceGetTemperature", "temperature_celsius", ("memory_bytes", "name")),
    ],
)
def test_a_board_without_a_sensor_tells_the_rest(
    boards: pytest.MonkeyPatch, sensor: str, field: str, others: tuple[str, ...]
) -> None:
    boards.setattr(pynvml, sensor, unsupported)
    gpus = ResourceReader().read().gpus
    assert [gpu.name for gpu in gpus] == ["Board 0", "Board 1"]
    assert all(getattr(gpu, field) == 0 for gpu in gpus)
    assert all(getattr(gpu, other) for gpu in gpus for other in others)


@pytest.mark.usefixtures("boards")
def test_boards_that_we_may_not_use_are_left_out() -> None:
    reader = ResourceReader()
    reader.show_only(["bbbb"])
    assert [gpu.name for gpu in reader.read().gpus] == ["Board 1"]
    reader.show_only(["a slice that NVML counts otherwise"])
    assert len(reader.read().gpus) == 2


def test_without_a_driver_there_are_none(boards: pytest.MonkeyPatch) -> None:
    boards.setattr(pynvml, "nvmlInit", unsupported)
    assert ResourceReader().read().gpus == ()


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
