"""Adapts a model's runtime to the interface of the calibration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial

import torch

from backend.engine.loading import IdleTime
from backend.model.checkpoint.components import Components
from backend.model.failures import naming_failures
from backend.model.lap import wait_for
from backend.model.measure.certify import RowShape, certified_row_counts
from backend.model.runtime.cuda_graphs import GraphRuntime
from backend.model.runtime.protocol import Runtime


class ModelSubject:
    """A `backend.engine.calibration.Subject`: times a runtime on noise while the engine is idle."""

    def __init__(self, components: Components, runtime: Runtime, idle: IdleTime) -> None:
        self._components = components
        self._runtime = runtime
        self._idle = idle

    def step(self, height: int, width: int, rows: int) -> float:
        shape = row_shape(self._components, height, width)
        return self._idle.run(
            partial(
                _timed,
                self._runtime.denoise,
                self._noise(rows, *shape.latents),
                torch.linspace(999.0, 1.0, rows),
                self._noise(rows, *shape.prompt_embeds),
            )
        )

    def decode(self, height: int, width: int) -> float:
        architecture = self._components.architecture
        _, *cells = row_shape(self._components, height, width).latents
        latents = self._noise(1, architecture.latent_channels, *cells)
        return self._idle.run(partial(_timed, self._runtime.decode, latents))

    def encode(self) -> float:
        tokens = torch.zeros(1, self._components.num_tokens, dtype=torch.int64)
        return self._idle.run(partial(_timed, self._runtime.encode, tokens))

    def warm(self, height: int, width: int, rows: int) -> None:
        self._idle.run(
            lambda: None
        )  # wait for idle time: compiling during a request would double its time
        shape = row_shape(self._components, height, width)
        self._runtime.warm(rows, shape.latents, shape.prompt_embeds)

    def bucket(self, rows: int) -> int:
        return self._runtime.bucket(rows)

    def certified(self, height: int, width: int, counts: Iterable[int]) -> frozenset[int]:
        shape = row_shape(self._components, height, width)
        return certified_row_counts(self._runtime, shape, counts, self._idle)

    def step_bytes(self, height: int, width: int, rows: int) -> int:
        device = self._runtime.device
        if device.type != "cuda":
            return 0
        shape = row_shape(self._components, height, width)
        latents, embeds = (
            self._noise(rows, *part) for part in (shape.latents, shape.prompt_embeds)
        )

        # Measured on the eager call, which allocates what a graph reserves; a replay allocates
        # almost nothing.
        runtime = self._runtime
        denoise = runtime.eager.denoise if isinstance(runtime, GraphRuntime) else runtime.denoise

        def count() -> int:
            wait_for(device)
            torch.cuda.reset_peak_memory_stats(device)
            resting = torch.cuda.memory_allocated(device)
            _timed(denoise, latents, torch.linspace(999.0, 1.0, rows), embeds)
            return torch.cuda.max_memory_allocated(device) - resting

        return self._idle.run(count)

    def _noise(self, *shape: int) -> torch.Tensor:
        generator = torch.Generator("cpu").manual_seed(0)
        noise = torch.randn(shape, generator=generator)
        return noise.to(self._runtime.device, self._runtime.dtype)


def row_shape(components: Components, height: int, width: int) -> RowShape:
    """Shapes of one UNet row for an image of this size in pixels."""
    architecture = components.architecture
    factor = architecture.vae_scale_factor
    return RowShape(
        (architecture.unet_channels, height // factor, width // factor),
        (components.num_tokens, architecture.hidden_size),
    )


def _timed(network: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> float:
    """Milliseconds of one call, including waiting for the device.

    Raises:
        OutOfMemory: it does not fit into memory.
    """
    with naming_failures("no memory for a batch of this size"):
        started = time.perf_counter()
        wait_for(network(*inputs).device)
        return (time.perf_counter() - started) * 1000
