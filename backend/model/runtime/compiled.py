"""torch.compile, each network once per shape: compiled in the background, eager meanwhile."""

from __future__ import annotations

import copy
import logging
import queue
import threading
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch

from backend.model.devices import settle_torch_threads
from backend.model.runtime.cuda_graphs import CudaGraphs
from backend.model.runtime.eager import TorchRuntime

logger = logging.getLogger(__name__)

MOST_SHAPES = 64
Shape = tuple[tuple[int, ...], ...]
Call = Callable[..., torch.Tensor]
Backend = str | Callable[..., Any]
"""A name that torch.compile knows, or what compiles a traced graph."""


class CompiledRuntime:
    """A `Runtime` around the eager one; on CUDA a compiled call is one CUDA graph.

    A shape's pictures change in the last bits once it is compiled, so that this runtime can't
    be certified.
    """

    name = "compiled"

    def __init__(self, eager: TorchRuntime, backend: Backend = "inductor") -> None:
        self._eager = eager
        self.device = eager.device
        self.dtype = eager.dtype
        # Beyond this many shapes torch would fall back to eager without a word.
        torch._dynamo.config.recompile_limit = MOST_SHAPES
        fast = _compiled(eager, backend)
        inbox: Inbox = queue.SimpleQueue()
        self.encode = Network(eager.encode, fast.encode, self.device, inbox)
        self.denoise = Network(eager.denoise, fast.denoise, self.device, inbox)
        self.decode = Network(eager.decode, fast.decode, self.device, inbox)
        threading.Thread(target=_compile_all, args=(inbox,), name="compiler", daemon=True).start()

    @property
    def description(self) -> str:
        return f"{self._eager.description}, compiled"

    def bucket(self, rows: int) -> int:
        return rows

    def warm(
        self, rows: int, latents: tuple[int, int, int], prompt_embeds: tuple[int, int]
    ) -> None:
        """Have the networks compiled for these shapes, in the background."""
        zeros = partial(torch.zeros, device=self.device, dtype=self.dtype)
        times = torch.zeros(rows, device=self.device)
        self.denoise.ask(zeros(rows, *latents), times, zeros(rows, *prompt_embeds))
        self.decode.ask(zeros(1, *latents))


class Network:
    """One network: compiled for the shapes that have been asked for, eager until they are."""

    def __init__(self, eager: Call, compiled: Call, device: torch.device, inbox: Inbox) -> None:
        self._eager = eager
        self._compiled = CudaGraphs(compiled) if device.type == "cuda" else compiled
        self._device = device
        self._inbox = inbox
        self.ready: set[Shape] = set()
        self._asked: set[Shape] = set()

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        inputs = tuple(tensor.to(self._device) for tensor in inputs)
        if shape_of(*inputs) in self.ready:
            return self._run(inputs)
        self.ask(*inputs)
        return self._eager(*inputs)

    def ask(self, *inputs: torch.Tensor) -> None:
        """Have it compiled for tensors of these shapes."""
        shape = shape_of(*inputs)
        if shape not in self._asked and len(self._asked) < MOST_SHAPES:
            self._asked.add(shape)
            self._inbox.put(Wanted(self, tuple(torch.zeros_like(tensor) for tensor in inputs)))

    def compile(self, inputs: tuple[torch.Tensor, ...]) -> None:
        """A first call, which compiles; on the compiler's thread."""
        self._run(inputs)
        self.ready.add(shape_of(*inputs))

    def _run(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        # Another memory layout would be compiled once more.
        return self._compiled(*(tensor.contiguous() for tensor in inputs))


class Wanted(NamedTuple):
    """A network to compile, and tensors of the shapes to compile it for."""

    network: Network
    inputs: tuple[torch.Tensor, ...]


Inbox = queue.SimpleQueue[Wanted]


def shape_of(*inputs: torch.Tensor) -> Shape:
    return tuple(tuple(tensor.shape) for tensor in inputs)


def _compiled(eager: TorchRuntime, backend: Backend) -> TorchRuntime:
    """The same runtime over compiled networks: of the autoencoder, only what decodes."""

    def compiled(network: Any) -> Any:
        return torch.compile(network, dynamic=False, backend=backend)

    fast = copy.copy(eager)
    fast.text_encoder = compiled(eager.text_encoder)
    fast.unet = compiled(eager.unet)
    fast.vae = SimpleNamespace(decode=compiled(eager.vae.decode))
    return fast


def _compile_all(inbox: Inbox) -> None:
    settle_torch_threads()
    while True:
        wanted = inbox.get()
        try:
            wanted.network.compile(wanted.inputs)
        except Exception:
            logger.warning("compiling failed; this shape stays eager", exc_info=True)
