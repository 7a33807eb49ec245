"""torch.cuda over a pretended device: torch's own Python stays, what is compiled is replaced.

So the checks that torch makes of its arguments are the real ones. Classes that exist in CUDA builds
alone are replaced whole; that they take what torch's take is checked when they are installed.
"""

from __future__ import annotations

import inspect
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.support.pretended_cuda import tensor as tensors
from tests.support.pretended_cuda.state import Call, Capture, Device, Pool, PoolId
from tests.support.pretended_cuda.tensor import DEVICE, DeviceTensor, gpu, is_pinned, pin
from tests.support.pretended_cuda.tree import tensors_in

NAME, UUID = "Pretended GPU", "0123abcd-0000-1111-2222-333344445555"
CUDA_TYPE = 1  # of c10::DeviceType
_stream_ids = itertools.count(1)
_streams = threading.local()  # of each thread: the current one; 0 is the default
_library: list[Any] = []  # torch.library's registrations, of which there is one for all


class Stream:
    """torch.cuda.Stream."""

    def __init__(self, device: Any = None, priority: int = 0, **kwargs: Any) -> None:
        self.stream_id = kwargs["stream_id"] if "stream_id" in kwargs else next(_stream_ids)
        self.device_index, self.device_type, self.device = 0, CUDA_TYPE, DEVICE

    def wait_event(self, event: Event) -> None:
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        self.wait_event(stream.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def query(self) -> bool:
        return gpu().done_ms >= gpu().queued_ms

    def synchronize(self) -> None:
        gpu().sync("stream")

    def __eq__(self, o: object) -> bool:
        return isinstance(o, Stream) and o.stream_id == self.stream_id

    def __hash__(self) -> int:
        return hash(self.stream_id)


class Event:
    """torch.cuda.Event: done once the host waited for something as late."""

    def __init__(
        self,
        enable_timing: bool = False,
        blocking: bool = False,
        interprocess: bool = False,
        external: bool = False,
    ) -> None:
        self._is_timed = enable_timing
        self._at_ms: float | None = None

    def record(self, stream: Stream | None = None) -> None:
        gpu().check()
        if gpu().capture is not None:
            raise torch.AcceleratorError("CUDA error: event recorded in a capture (pretended)")
        self._at_ms = gpu().queued_ms

    def wait(self, stream: Stream | None = None) -> None:
        gpu().check()

    def query(self) -> bool:
        gpu().check()
        return self._at_ms is None or gpu().done_ms >= self._at_ms

    def synchronize(self) -> None:
        gpu().check()
        if gpu().capture is not None:
            raise torch.AcceleratorError("CUDA error: waiting while capturing (pretended)")
        gpu().counts.syncs["event"] += 1
        gpu().done_ms = max(gpu().done_ms, self._at_ms or 0.0)

    def elapsed_time(self, end_event: Event) -> float:
        if not (self._is_timed and end_event._is_timed):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self._at_ms is None or end_event._at_ms is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        if not (self.query() and end_event.query()):
            raise RuntimeError("CUDA error: device not ready (pretended)")
        return end_event._at_ms - self._at_ms


class CUDAGraph:
    """torch.cuda.CUDAGraph: replays by computing anew, into the same memory."""

    def __init__(self, keep_graph: bool = False) -> None:
        self._capture: Capture | None = None
        self._is_whole = False

    def capture_begin(
        self,
        pool: PoolId | None = None,
        capture_error_mode: str = "global",
        check_input_liveness: bool = False,
    ) -> None:
        device, thread = gpu(), threading.get_ident()
        if device.captures:
            raise RuntimeError("one capture at a time (pretended)")
        if not getattr(_streams, "current", 0):
            raise RuntimeError("CUDA graphs must be captured on a non-default stream.")
        pool = pool or _graph_pool_handle()
        device.pools.setdefault(pool, Pool())
        self._capture = Capture(pool, _streams.current, capture_error_mode)
        device.captures[thread] = self._capture
        self._pool = device.pools[pool]
        self._pool.graphs += 1

    def capture_end(self) -> None:
        capture = self._capture
        assert capture is not None
        gpu().captures.pop(threading.get_ident(), None)
        fault = capture.broken_by or gpu().fails_to_capture
        if fault:
            self.reset()
            raise torch.AcceleratorError(
                f"CUDA error: operation failed due to a previous error during capture: {fault}"
            )
        self._is_whole = True
        for call in capture.calls:  # nothing has run yet
            for result in call.results:
                if result.is_floating_point():
                    result.fill_(float("nan"))

    def replay(self) -> None:
        if self._capture is None or not self._is_whole:
            raise RuntimeError("Called CUDAGraph::replay without a preceding successful capture.")
        device = gpu()
        device.check()
        if device.capture is not None:
            raise RuntimeError("a replay while capturing (pretended)")
        for call in self._capture.calls:
            for result, out in zip(call.results, tensors_in(call.compute()), strict=False):
                result.copy_(out)
        device.counts.replays += 1
        device.queued_ms += device.kernel_ms * len(self._capture.calls) / 4

    def reset(self) -> None:
        if self._capture is not None:
            self._pool.graphs -= 1
        self._capture, self._is_whole = None, False

    def pool(self) -> PoolId:
        assert self._capture is not None
        return self._capture.pool

    def __del__(self) -> None:
        self.reset()


def _graph_pool_handle() -> PoolId:
    return (0, next(_stream_ids))


@contextmanager
def pretended_cuda(total_bytes: int = 8 << 30) -> Iterator[Device]:
    """Inside, torch sees one CUDA device, on every thread."""
    with pytest.MonkeyPatch.context() as patch:
        tensors.current = device = Device(total_bytes)
        _register_factories()
        _replace_driver(patch, device)
        _replace_classes(patch)
        _replace_bindings(patch)
        # Else modules would move their weights' insides alone, and lose their class.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # more would wait for each other over so little
        try:
            yield device
        finally:
            torch.set_num_threads(threads)
            torch.__future__.set_overwrite_module_params_on_conversion(False)
            torch.cuda.graph.default_capture_stream = None


def _replace_driver(patch: pytest.MonkeyPatch, device: Device) -> None:
    def set_fraction(fraction: float, _index: int) -> None:
        device.fraction = fraction

    def current_stream(_index: int) -> tuple[int, int, int]:
        return (getattr(_streams, "current", 0), 0, CUDA_TYPE)

    def set_stream(*, stream_id: int, device_index: int, device_type: int) -> None:
        _streams.current = stream_id

    for name, fake in {
        "_cuda_getDeviceCount": lambda: 1,
        "_cuda_getDevice": lambda: 0,
        "_cuda_setDevice": lambda index: None,
        "_cuda_synchronize": device.sync_all,
        "_cuda_emptyCache": device.empty_cache,
        "_host_emptyCache": lambda: None,
        "_cuda_setMemoryFraction": set_fraction,
        "_cuda_getMemoryFraction": lambda _index: device.fraction,
        "_cuda_memoryStats": lambda _index: _memory_stats(device),
        "_cuda_resetPeakMemoryStats": lambda _index: setattr(device, "peak", device.allocated),
        "_cuda_set_sync_debug_mode": lambda mode: setattr(device, "warns_of_syncs", mode > 0),
        "_cuda_getCurrentStream": current_stream,
        "_cuda_getDefaultStream": lambda _index: (0, 0, CUDA_TYPE),
        "_cuda_setStream": set_stream,
        "_has_cuda": True,
    }.items():
        patch.setattr(torch._C, name, fake, raising=False)
    runtime = SimpleNamespace(cudaMemGetInfo=lambda _index: _memory_info(device))
    properties = SimpleNamespace(
        name=NAME, uuid=UUID, major=9, minor=0, total_memory=device.total_bytes
    )
    for name, fake in {
        "_initialized": True,
        "_cached_device_count": None,  # which torch keeps for the tests that follow
        "_cudart": runtime,
        "_exchange_device": lambda index: 0,
        "_maybe_exchange_device": lambda index: 0,
        "_get_device_properties": lambda index: properties,
        "default_generators": (torch.Generator(),),
    }.items():
        patch.setattr(torch.cuda, name, fake, raising=False)
    patch.setattr(torch.cuda.graphs, "_graph_pool_handle", _graph_pool_handle)
    patch.setattr(
        torch.cuda.graphs, "_cuda_isCurrentStreamCapturing", lambda: device.capture is not None
    )


def _memory_stats(device: Device) -> dict[str, Any]:
    def both(now: int, peak: int) -> dict[str, Any]:
        return {"all": {"current": now, "peak": peak}}

    return {
        "allocated_bytes": both(device.allocated, device.peak),
        "reserved_bytes": both(device.reserved, device.reserved),
    }


def _memory_info(device: Device) -> tuple[int, int]:
    free = device.total_bytes - device.taken_by_others - device.reserved
    return free, device.total_bytes


def _replace_classes(patch: pytest.MonkeyPatch) -> None:
    for fake in (Stream, Event, CUDAGraph):
        real = getattr(torch.cuda, fake.__name__)
        _check_alike(real, fake)
        patch.setattr(torch.cuda, fake.__name__, fake)
    for module, fake in (("streams", Stream), ("streams", Event), ("graphs", CUDAGraph)):
        patch.setattr(getattr(torch.cuda, module), fake.__name__, fake)


def _check_alike(real: type, fake: type) -> None:
    """The fake's methods are torch's, and take what torch's take."""
    for name, method in vars(fake).items():
        if (name.startswith("_") and name != "__init__") or not inspect.isfunction(method):
            continue
        theirs = getattr(real, "__new__" if name == "__init__" else name)
        expected = [*inspect.signature(theirs).parameters][1:]
        assert [*inspect.signature(method).parameters][1:] == expected, (real, name)


def _register_factories() -> None:
    """Memory of the device, for whoever asks on whatever thread."""
    if _library:
        return
    library = torch.library.Library("aten", "IMPL")

    def empty(size: Any, **options: Any) -> torch.Tensor:
        layout = options.get("memory_format") or torch.contiguous_format
        return DeviceTensor(torch.empty(size, dtype=options.get("dtype"), memory_format=layout))

    def empty_strided(size: Any, stride: Any, **options: Any) -> torch.Tensor:
        return DeviceTensor(torch.empty_strided(size, stride, dtype=options.get("dtype")))

    library.impl("empty.memory_format", empty, "CUDA")
    library.impl("empty_strided", empty_strided, "CUDA")
    _library.append(library)


def _replace_bindings(patch: pytest.MonkeyPatch) -> None:
    """Python's ways to the device that pass a guard which a build for CPUs lacks."""
    torch.utils._device._device_constructors()  # remembers who they are: the real ones
    real_to, real_empty = torch.Tensor.to, torch.empty

    def to(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        args = tuple(map(_with_index, args))
        kwargs = {key: _with_index(value) for key, value in kwargs.items()}
        found: torch.Tensor = real_to(self, *args, **kwargs)
        return found

    def factory(real: Any) -> Any:
        """Values of the device come from a kernel, those of Python's lists from the host."""

        def make(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
            made: torch.Tensor = real(*args, **kwargs)
            if device is None or torch.device(device).type != "cuda":
                return made
            if real is real_tensor:
                return made.to(DEVICE)
            gpu().launch(real.__name__, Call(lambda: real(*args, **kwargs), (made,)))
            return DeviceTensor(made)

        return make

    def empty(*args: Any, pin_memory: bool = False, **kwargs: Any) -> torch.Tensor:
        made = real_empty(*args, **kwargs)
        return pin(made) if pin_memory else made

    def cuda(self: torch.Tensor, device: Any = None, non_blocking: bool = False) -> torch.Tensor:
        return self.to(DEVICE, non_blocking=non_blocking)

    for name, fake in {"to": to, "cuda": cuda, "pin_memory": pin, "is_pinned": is_pinned}.items():
        patch.setattr(torch.Tensor, name, fake)
    real_tensor = torch.tensor
    for name in ("tensor", "arange", "linspace"):
        patch.setattr(torch, name, factory(getattr(torch, name)))
    patch.setattr(torch, "empty", empty)


def _with_index(value: Any) -> Any:
    if isinstance(value, str) and value == "cuda":
        return DEVICE
    if isinstance(value, torch.device) and value == torch.device("cuda"):
        return DEVICE
    return value
