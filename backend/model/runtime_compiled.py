"""torch.compile, one compiled UNet per shape: compiled in the background, eager meanwhile."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Any

import torch

from backend.model.runtime_torch import TorchRuntime

logger = logging.getLogger(__name__)

MOST_SHAPES = 64
Shape = tuple[tuple[int, ...], ...]


class CompiledRuntime:
    """A `Runtime` around the eager one; only the UNet, where nearly all the time goes.

    A shape's pictures change in the last bits once it is compiled, so that this runtime can't
    be certified.
    """

    name = "compiled"

    def __init__(self, eager: TorchRuntime, backend: str = "inductor") -> None:
        self._eager = eager
        self.device = eager.device
        self.dtype = eager.dtype
        self._ready: set[Shape] = set()
        self._asked: set[Shape] = set()
        self._inbox: queue.SimpleQueue[tuple[torch.Tensor, ...]] = queue.SimpleQueue()
        # Beyond this many shapes torch would fall back to eager without a word.
        torch._dynamo.config.recompile_limit = MOST_SHAPES
        self._compiled: Any = torch.compile(eager.unet, dynamic=False, backend=backend)
        threading.Thread(target=self._compile_all, name="compiler", daemon=True).start()

    @property
    def description(self) -> str:
        return f"{self._eager.description}, compiled"

    def bucket(self, rows: int) -> int:
        return rows

    def warm(
        self, rows: int, latents: tuple[int, int, int], prompt_embeds: tuple[int, int]
    ) -> None:
        """Have the UNet compiled for these shapes, in the background."""
        self._ask(
            torch.zeros(rows, *latents, device=self.device, dtype=self.dtype),
            torch.zeros(rows, device=self.device),
            torch.zeros(rows, *prompt_embeds, device=self.device, dtype=self.dtype),
        )

    def encode(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Token ids [1, tokens] to prompt_embeds [1, tokens, hidden]."""
        return self._eager.encode(input_ids)

    def denoise(
        self, latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor
    ) -> torch.Tensor:
        """One UNet call: compiled if this shape is, else eager while it gets compiled."""
        inputs = (latents, timesteps.to(self.device), prompt_embeds)
        shape = tuple(tuple(tensor.shape) for tensor in inputs)
        if shape in self._ready:
            return self._run(inputs)
        self._ask(*inputs)
        return self._eager.denoise(*inputs)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [1, channels, h, w], unscaled, to an image [1, 3, height, width] in -1 to 1."""
        return self._eager.decode(latents)

    def is_ready(self, latents: torch.Tensor, *others: torch.Tensor) -> bool:
        """Whether a call with tensors of these shapes would run compiled."""
        return tuple(tuple(tensor.shape) for tensor in (latents, *others)) in self._ready

    def _ask(self, *inputs: torch.Tensor) -> None:
        shape = tuple(tuple(tensor.shape) for tensor in inputs)
        if shape not in self._asked and len(self._asked) < MOST_SHAPES:
            self._asked.add(shape)
            self._inbox.put(tuple(torch.zeros_like(tensor) for tensor in inputs))

    def _compile_all(self) -> None:
        while True:
            inputs = self._inbox.get()
            try:
                self._run(inputs)
            except Exception:
                logger.warning("compiling failed; this shape stays eager", exc_info=True)
                continue
            self._ready.add(tuple(tuple(tensor.shape) for tensor in inputs))

    @torch.inference_mode()
    def _run(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        latents, timesteps, prompt_embeds = inputs
        prediction: torch.Tensor = self._compiled(
            latents.contiguous(),
            timesteps,
            encoder_hidden_states=prompt_embeds,
            return_dict=False,
        )[0]
        return prediction.contiguous()
