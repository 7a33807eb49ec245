"""A model as the calibration sees it."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from backend.model.checkpoint.components import Components
from backend.model.measure.certify import RowShape, certified_row_counts
from backend.model.runtime.protocol import Runtime


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


def _finish(tensor: torch.Tensor) -> None:
    """Wait for a device that computes in the background."""
    if tensor.device.type == "cuda":
        torch.cuda.synchronize(tensor.device)
