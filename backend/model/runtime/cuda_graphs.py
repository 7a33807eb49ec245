"""A network's kernels as one CUDA graph per shape: one launch instead of a thousand."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

WARM_UPS = 3
"""Calls before a capture, as https://docs.pytorch.org/docs/stable/notes/cuda.html asks for."""


class Captured(NamedTuple):
    """A graph, and the tensors it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[torch.Tensor, ...]
    output: torch.Tensor


class CudaGraphs:
    """Calls `network`: captured when a shape is first seen, replayed afterwards.

    Calls of one shape must not overlap. A first call may come from another thread than later ones,
    while other threads use the device.
    """

    def __init__(self, network: Callable[..., torch.Tensor]) -> None:
        self._network = network
        self._captured: dict[tuple[torch.Size, ...], Captured] = {}

    @torch.inference_mode()
    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        shape = tuple(tensor.shape for tensor in inputs)
        if shape not in self._captured:
            self._captured[shape] = self._capture(inputs)
        captured = self._captured[shape]
        for kept, given in zip(captured.inputs, inputs, strict=True):
            kept.copy_(given)
        captured.graph.replay()
        return captured.output.clone()  # the next replay overwrites it

    def _capture(self, inputs: tuple[torch.Tensor, ...]) -> Captured:
        kept = tuple(tensor.clone() for tensor in inputs)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._network(*kept)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Others may go on: only what this thread does is captured, and checked.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            output = self._network(*kept)
        return Captured(graph, kept, output)
