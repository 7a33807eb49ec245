"""What the process and the machine use. A reading is kept for a second: polling it is cheap."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
import pynvml

from backend.domain import Gpu, Resources

KEEP_S = 1.0


class ResourceReader:
    """Reads CPU and memory through psutil and NVIDIA GPUs through NVML, where there are any."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first reading has nothing to compare with
        self._has_nvml = _init_nvml()
        self._last = self._read()
        self._read_at_s = clock()

    def read(self) -> Resources:
        """At most a second old."""
        now_s = self._clock()
        if now_s - self._read_at_s >= KEEP_S:
            self._last, self._read_at_s = self._read(), now_s
        return self._last

    def _read(self) -> Resources:
        memory = psutil.virtual_memory()
        return Resources(
            cpu_percent=self._process.cpu_percent() / (psutil.cpu_count() or 1),
            process_memory_bytes=self._process.memory_info().rss,
            system_memory_bytes=memory.total,
            system_memory_used_bytes=memory.total - memory.available,
            gpus=_read_gpus() if self._has_nvml else (),
        )


def _init_nvml() -> bool:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return False  # no NVIDIA driver on this machine
    return True


def _read_gpus() -> tuple[Gpu, ...]:
    try:
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
        return tuple(_read_gpu(handle) for handle in handles)
    except pynvml.NVMLError:
        return ()  # the driver went away; the status must still be told


def _read_gpu(handle: object) -> Gpu:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    sensor = pynvml.NVML_TEMPERATURE_GPU
    return Gpu(
        name=str(pynvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(memory.total),
        memory_used_bytes=int(memory.used),
        utilization_percent=float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        temperature_celsius=float(pynvml.nvmlDeviceGetTemperature(handle, sensor)),
    )
