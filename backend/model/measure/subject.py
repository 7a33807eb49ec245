"""A model as the calibration sees it, and the make that its measurements are valid for."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from pathlib import Path

import torch

from backend.model.checkpoint.components import Components
from backend.model.measure.certify import RowShape, certified_row_counts
from backend.model.runtime.protocol import Runtime

_FIELD = re.compile(r"^(.+?)\s*: (.*?)\s*$", re.MULTILINE)
SHARE_OF_FREE = 0.9  # the rest is lost between blocks, and to other programs


class ModelSubject:
    """A `backend.engine.calibration.Subject`: a runtime fed with noise."""

    def __init__(self, components: Components, runtime: Runtime) -> None:
        self._components = components
        self._runtime = runtime

    @torch.inference_mode()
    def step(self, height: int, width: int, rows: int) -> None:
        shape = row_shape(self._components, height, width)
        prediction = self._runtime.denoise(
            self._noise(rows, *shape.latents),
            torch.linspace(999.0, 1.0, rows),
            self._noise(rows, *shape.prompt_embeds),
        )
        _finish(prediction)

    @torch.inference_mode()
    def decode(self, height: int, width: int) -> None:
        _finish(
            self._runtime.decode(
                self._noise(1, *row_shape(self._components, height, width).latents)
            )
        )

    @torch.inference_mode()
    def encode(self) -> None:
        tokens = torch.zeros(1, self._components.num_tokens, dtype=torch.int64)
        _finish(self._runtime.encode(tokens))

    def warm(self, height: int, width: int, rows: int) -> None:
        """Compile what `step` would need, without running it."""
        shape = row_shape(self._components, height, width)
        self._runtime.warm(rows, shape.latents, shape.prompt_embeds)

    def bucket(self, rows: int) -> int:
        return self._runtime.bucket(rows)

    def certified(self, height: int, width: int, counts: Iterable[int]) -> frozenset[int]:
        return certified_row_counts(
            self._runtime, row_shape(self._components, height, width), counts
        )

    def step_bytes(self, height: int, width: int, rows: int) -> int:
        device = self._runtime.device
        if device.type != "cuda":
            return 0
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        resting = torch.cuda.memory_allocated(device)
        self.step(height, width, rows)
        return torch.cuda.max_memory_allocated(device) - resting

    def _noise(self, *shape: int) -> torch.Tensor:
        generator = torch.Generator("cpu").manual_seed(0)
        noise = torch.randn(shape, generator=generator)
        return noise.to(self._runtime.device, self._runtime.dtype)


def row_shape(components: Components, height: int, width: int) -> RowShape:
    """What the UNet sees of one row of a picture of so many pixels."""
    architecture = components.architecture
    factor = architecture.vae_scale_factor
    return RowShape(
        (architecture.latent_channels, height // factor, width // factor),
        (components.num_tokens, architecture.hidden_size),
    )


def machine(device: torch.device) -> str:
    """The chip that runs the model, as its driver or the kernel names it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        told = ""
    return chip(told) or platform.processor() or platform.machine()


def chip(cpuinfo: str) -> str:
    """The first CPU of Linux's /proc/cpuinfo; "" where it names none.

    A virtual machine may say no more than "AMD EPYC": family and model number still tell which.
    """
    first = dict(_FIELD.findall(cpuinfo.partition("\n\n")[0]))
    numbers = [f"{key} {first[key]}" for key in ("cpu family", "model") if key in first]
    name: str = first.get("model name", "")
    return f"{name} ({', '.join(numbers)})" if name and numbers else name


def free_bytes(device: torch.device, fraction: float) -> int:
    """Memory of a CUDA device that this process may still take, up to `fraction` of all; else 0.

    What torch holds and does not use counts as free.
    """
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    used, held = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    return int(SHARE_OF_FREE * min(free + held - used, fraction * total - used))


def _finish(tensor: torch.Tensor) -> None:
    """Wait for a device that computes in the background."""
    if tensor.device.type == "cuda":
        torch.cuda.synchronize(tensor.device)
