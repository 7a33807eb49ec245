"""Picks device and dtype, and sets the process-wide options of torch."""

from __future__ import annotations

import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from backend.config import Settings
from backend.errors import ModelFailed

CPUINFO, BOARD = Path("/proc/cpuinfo"), Path("/proc/device-tree/model")
NUMBERS = ("cpu family", "model", "CPU implementer", "CPU part", "CPU variant", "CPU revision")
_FIELD = re.compile(r"^(.+?)\s*: (.*?)\s*$", re.MULTILINE)


def pick_device(settings: Settings) -> torch.device:
    """The configured device, or the best available for `auto`. A CUDA device has its index.

    Raises:
        ModelFailed: the device does not exist.
    """
    device = torch.device(_best_device(settings) if settings.device == "auto" else settings.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelFailed(
            f"DEVICE={settings.device}, but torch {torch.__version__} sees no CUDA device here."
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ModelFailed(f"DEVICE={settings.device}, but there are only {count} CUDA devices.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelFailed("DEVICE=mps, but this machine has no Metal device.")
    if device == torch.device("cuda"):
        # Some torch.cuda functions refuse a device without an index.
        return torch.device("cuda", torch.cuda.current_device())
    return device


def pick_dtype(settings: Settings, device: torch.device) -> torch.dtype:
    """The configured dtype; for `auto` the fastest that the device supports natively."""
    if settings.dtype != "auto":
        dtype: torch.dtype = getattr(torch, settings.dtype)
        return dtype
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if device.type == "cpu" and has_native_bfloat16() else torch.float32


def has_native_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX-512 BF16, AMX, or Arm's BF16)."""
    has = torch.cpu.get_capabilities()
    return any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def set_up(settings: Settings, device: torch.device) -> None:
    """Set torch's threads, memory limit and arithmetic, preferring reproducible over fast.

    No TF32 for float32, no sums in half precision. cuBLAS may split sums over blocks (split-k):
    forbidding that makes every product without a bias fail (torch 2.11), and what differs with the
    batch is found by certified_row_counts.
    """
    settle_torch_threads(settings.num_threads or _all_threads())
    if device.type == "mps":
        torch.mps.set_per_process_memory_fraction(settings.gpu_memory_fraction)
    if device.type != "cuda":
        return
    torch.cuda.set_device(device)
    torch.cuda.set_per_process_memory_fraction(settings.gpu_memory_fraction, device)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


@cache
def _all_threads() -> int:
    """torch's own choice. Remembered, since another model's engine may just compute with one."""
    return torch.get_num_threads()


def move(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a CPU tensor to `device`; for CUDA without waiting for the copy to finish."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class UnawaitedMoves(TorchFunctionMode):
    """Replaces `tensor.to(device)` by `move`, for code of diffusers such as drawing noise."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.to and args[1:] == (self._device,) and not kwargs:
            return move(args[0], self._device)
        return func(*args, **(kwargs or {}))


def settle_torch_threads(number: int) -> None:
    """Fix the calling thread's number of torch threads.

    Otherwise torch fixes it at the thread's first computation, and a concurrent
    `one_torch_thread` could pin it to 1.
    """
    torch.get_num_threads()  # ends torch's own first choice for this thread
    torch.set_num_threads(number)


def count_threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Make torch compute on the calling thread only.

    Waking torch's threads for one pass over an image takes longer than the pass. Also, every
    thread that calls torch gets its own OpenMP pool; with more pool threads than cores, OpenMP
    puts them to sleep after every operation, which makes steps 50 % slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def visible_gpus() -> tuple[str, ...]:
    """UUIDs of the GPUs visible to CUDA, however CUDA_VISIBLE_DEVICES names them."""
    indices = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    return tuple(str(torch.cuda.get_device_properties(index).uuid) for index in indices)


def machine(device: torch.device) -> str:
    """The name of the chip that runs the model, from its driver or the kernel."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = (chip(_text(CPUINFO)), _text(BOARD).strip("\0\n"), _apples_name())
    return next(filter(None, names), "") or platform.processor() or platform.machine()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _apples_name() -> str:
    """For example Apple M2; elsewhere nothing."""
    if platform.system() != "Darwin":
        return ""
    command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8"
        ).stdout.strip()
    except OSError:
        return ""


def chip(cpuinfo: str) -> str:
    """The first CPU's name in Linux's /proc/cpuinfo, or "".

    Family and model number are added because a virtual machine may report just "AMD EPYC". On
    Arm there are only numbers.
    """
    first = dict(_FIELD.findall(cpuinfo.partition("\n\n")[0]))
    numbers = [f"{key} {first[key]}" for key in NUMBERS if key in first]
    name = first.get("model name", "Arm" if "CPU part" in first else "")
    return f"{name} ({', '.join(numbers)})" if name and numbers else name


def _best_device(settings: Settings) -> str:
    """Metal only for other models than the embedded one, which a CPU draws quickly and exactly."""
    if torch.cuda.is_available():
        return "cuda"
    is_embedded = settings.model == "auto"
    return "mps" if not is_embedded and torch.backends.mps.is_available() and _mps_pays() else "cpu"


def _mps_pays() -> bool:
    """Whether Metal computes as the CPU does, and sooner: not so on a virtual machine."""
    try:
        found, mps_s = probe("mps")
    except RuntimeError:
        return False
    expected, cpu_s = probe("cpu")
    return torch.allclose(found, expected, rtol=1e-2, atol=1e-2) and mps_s < cpu_s


def probe(device: str) -> tuple[torch.Tensor, float]:
    """What a convolution of Stable Diffusion's size gives on `device`, and the seconds it takes.

    Raises:
        RuntimeError: the device does not compute.
    """
    image = torch.linspace(-1, 1, 2 * 320 * 64 * 64).view(2, 320, 64, 64).to(device)
    weight = torch.linspace(-0.01, 0.01, 320 * 320 * 9).view(320, 320, 3, 3).to(device)
    torch.nn.functional.conv2d(image, weight).cpu()  # compiles
    started = time.perf_counter()
    found = torch.nn.functional.conv2d(image, weight).cpu()
    return found, time.perf_counter() - started
