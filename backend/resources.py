"""CPU, memory and GPU usage, cached for `KEEP_S` so that polling is cheap."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

import psutil
import pynvml

from backend import cgroup
from backend.domain import Gpu, Resources

KEEP_S = 1.0


class ResourceReader:
    """Reads CPU and memory through psutil, and NVIDIA GPUs through NVML."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first call returns 0: it measures since the previous call
        self._has_nvml = _init_nvml()
        self._shown: frozenset[str] = frozenset()
        self._last = self._read()
        self._read_at_s = clock()

    def read(self) -> Resources:
        """The current usage, at most `KEEP_S` seconds old."""
        now_s = self._clock()
        if now_s - self._read_at_s >= KEEP_S:
            self._last, self._read_at_s = self._read(), now_s
        return self._last

    def show_only(self, uuids: Collection[str]) -> None:
        """Report only these GPUs; NVML also sees those hidden by CUDA_VISIBLE_DEVICES."""
        self._shown = frozenset(uuids)
        self._last = self._read()

    def _read(self) -> Resources:
        memory = _memory()
        return Resources(
            cpu_percent=self._process.cpu_percent() / (psutil.cpu_count() or 1),
            process_memory_bytes=self._process.memory_info().rss,
            system_memory_bytes=memory.total,
            system_memory_used_bytes=memory.used,
            gpus=_read_gpus(self._shown) if self._has_nvml else (),
        )


def _memory() -> cgroup.Memory:
    """Of this machine, or of the container if that has less."""
    machine, limited = psutil.virtual_memory(), cgroup.memory()
    if limited is not None and limited.total < machine.total:
        return limited
    return cgroup.Memory(machine.total, machine.total - machine.available)


def _init_nvml() -> bool:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return False  # no NVIDIA driver on this machine
    return True


def _read_gpus(shown: frozenset[str]) -> tuple[Gpu, ...]:
    """The GPUs in `shown`; all of them if NVML knows none by those UUIDs."""
    try:
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
    except pynvml.NVMLError:
        return ()  # the driver is gone; the status must still be answered
    visible = [handle for handle in handles if _uuid(handle) in shown]
    return tuple(_read_gpu(handle) for handle in visible or handles)


def _read_gpu(handle: object) -> Gpu:
    """A value is 0 where there is no sensor for it, as on MIG slices and unified memory."""
    memory = _ask(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    usage = _ask(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle))
    sensor = pynvml.NVML_TEMPERATURE_GPU
    return Gpu(
        name=str(_ask(lambda: pynvml.nvmlDeviceGetName(handle)) or "NVIDIA GPU"),
        memory_bytes=int(memory.total) if memory else 0,
        memory_used_bytes=int(memory.used) if memory else 0,
        utilization_percent=float(usage.gpu) if usage else 0.0,
        temperature_celsius=float(
            _ask(lambda: pynvml.nvmlDeviceGetTemperature(handle, sensor)) or 0.0
        ),
    )


def _uuid(handle: object) -> str:
    return str(_ask(lambda: pynvml.nvmlDeviceGetUUID(handle)) or "").removeprefix("GPU-")


def _ask(sensor: Callable[[], Any]) -> Any:
    try:
        return sensor()
    except pynvml.NVMLError:
        return None
