"""Runs the UNet as one CUDA graph per shape: one launch instead of a thousand kernels.

All graphs share one stream and one memory pool: they are replayed one after another, and each
output is copied immediately. They are dropped together, because destroying one graph can crash
another on the same stream (https://github.com/pytorch/pytorch/issues/193402).
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch

from backend.model.failures import is_out_of_memory
from backend.model.runtime.eager import TorchRuntime
from backend.model.runtime.protocol import NO_VECTORS, Moments, Vectors

logger = logging.getLogger(__name__)

BUCKETS = (1, 2, 4, 8, 12, 16, 24, 32)  # row counts with a graph; others are padded
WARM_UPS = 3
"""Calls before a capture; https://docs.pytorch.org/docs/stable/notes/cuda.html requires some."""
MOST_GRAPHS = 32  # clients choose the sizes; when there are more, all graphs are dropped
CAPTURE = threading.Lock()  # held while capturing, and by other threads that use the device

Shape = tuple[torch.Size, torch.Size]  # of latents and prompt_embeds
Network = Callable[..., torch.Tensor]
T = TypeVar("T")


@dataclass(frozen=True)
class Captured:
    """A captured graph and its input and output tensors."""

    graph: torch.cuda.CUDAGraph
    latents: torch.Tensor  # [bucket, channels, height, width]
    timesteps: torch.Tensor  # float32 [bucket]
    prompt_embeds: torch.Tensor  # [bucket, tokens, hidden]
    output: torch.Tensor  # like `latents`

    @torch.inference_mode()
    def __call__(
        self, latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor
    ) -> torch.Tensor:
        """Replay the graph; padding rows keep values of earlier calls and are ignored."""
        rows = len(latents)
        self.latents[:rows].copy_(latents)
        self.timesteps[:rows].copy_(timesteps.pin_memory(), non_blocking=True)
        self.prompt_embeds[:rows].copy_(prompt_embeds)
        self.graph.replay()
        return self.output[:rows].clone()  # the next replay overwrites it


class Failure(NamedTuple):
    """Why a capture failed."""

    is_out_of_memory: bool
    text: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe the first cause: ending a failed capture raises a second error."""
        while error.__context__ is not None:
            error = error.__context__
        return cls(is_out_of_memory(error), str(error).partition("\n")[0])


class GraphRuntime:
    """The eager runtime for CUDA, with the UNet in graphs that are captured on first use.

    Not thread-safe: called on the engine's thread. If a capture fails, the eager UNet is used.
    """

    name = "torch"

    def __init__(self, eager: TorchRuntime) -> None:
        self.eager = eager
        self.device = eager.device
        self.dtype = eager.dtype
        self.num_captures = 0
        self.remark = ""
        self._graphs: dict[Shape, Captured] = {}
        self._left_eager: set[Shape] = set()
        self._stream: torch.cuda.Stream | None = None
        self._pool: Any = None

    @property
    def description(self) -> str:
        return f"{self.eager.description} graphs"

    @property
    def num_bytes(self) -> int:
        return self.eager.num_bytes

    def bucket(self, rows: int) -> int:
        return min((bucket for bucket in BUCKETS if bucket >= rows), default=rows)

    def warm(
        self, rows: int, latents: tuple[int, int, int], prompt_embeds: tuple[int, int]
    ) -> None:
        """Does nothing: capturing on first use takes a fraction of a second."""

    def encode(
        self, input_ids: torch.Tensor, clip_skip: int = 1, vectors: Vectors = NO_VECTORS
    ) -> torch.Tensor:
        return self._with_room(partial(self.eager.encode, input_ids, clip_skip, vectors))

    def encode_picture(self, image: torch.Tensor) -> Moments:
        return self._with_room(self.eager.encode_picture, image)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self._with_room(self.eager.decode, latents)

    def denoise(
        self, latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor
    ) -> torch.Tensor:
        return self._with_room(self._denoise, latents, timesteps, prompt_embeds)

    def _denoise(
        self, latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor
    ) -> torch.Tensor:
        network = self._graph(latents, prompt_embeds) or self.eager.denoise
        return network(latents, timesteps, prompt_embeds)

    def drop(self) -> None:
        """Free all graphs and their memory; they are captured again when needed."""
        if not self._graphs:
            return
        with contextlib.suppress(RuntimeError):  # the device is lost
            torch.cuda.current_stream(self.device).synchronize()
        self._graphs.clear()
        self._pool = None
        gc.collect()
        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()

    def _with_room(self, network: Callable[..., T], *inputs: torch.Tensor) -> T:
        """Call `network`; if memory runs out, drop the graphs and try again."""
        try:
            return network(*inputs)
        except RuntimeError as error:
            if not (is_out_of_memory(error) and self._graphs):
                raise
        logger.warning("out of memory: the CUDA graphs are dropped")
        self.drop()
        return network(*inputs)

    # Capturing

    def _graph(self, latents: torch.Tensor, prompt_embeds: torch.Tensor) -> Captured | None:
        rows = self.bucket(len(latents))
        shape = (
            torch.Size((rows, *latents.shape[1:])),
            torch.Size((rows, *prompt_embeds.shape[1:])),
        )
        known = self._graphs.get(shape)
        if known is not None:
            return known
        if self.remark or rows > BUCKETS[-1] or shape in self._left_eager:
            return None
        if len(self._graphs) >= MOST_GRAPHS:
            self.drop()
        failure = self._try(shape)
        if failure is None:
            return self._graphs[shape]
        self.drop()
        if failure.is_out_of_memory:
            self._left_eager.add(shape)
            logger.warning("no memory for a CUDA graph of %s rows", rows)
        else:
            self.remark = f"without CUDA graphs: {failure.text}"
            logger.warning(self.remark)
        return None

    def _try(self, shape: Shape) -> Failure | None:
        """Capture a graph for `shape`. Returns the failure, or None."""
        before = torch.cuda.current_stream(self.device)
        try:
            self._graphs[shape] = self._capture(shape)
            self.num_captures += 1
        except RuntimeError as error:
            # Not the error itself, whose frames keep tensors alive.
            return Failure.of(error)
        finally:
            torch.cuda.set_stream(before)  # torch.cuda.graph does not restore it after a failure
        return None

    @torch.inference_mode()
    def _capture(self, shape: Shape) -> Captured:
        latents = torch.zeros(shape[0], device=self.device, dtype=self.dtype)
        timesteps = torch.zeros(len(latents), device=self.device)
        prompt_embeds = torch.zeros(shape[1], device=self.device, dtype=self.dtype)
        if self._stream is None:
            self._stream = torch.cuda.Stream(self.device)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        stream = self._stream
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self.eager.denoise(latents, timesteps, prompt_embeds)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with (
            CAPTURE,
            torch.cuda.device(self.device),
            # thread_local: other threads may keep using the device during the capture.
            torch.cuda.graph(
                graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"
            ),
        ):
            output = self.eager.denoise(latents, timesteps, prompt_embeds)
        return Captured(graph, latents, timesteps, prompt_embeds, output)
