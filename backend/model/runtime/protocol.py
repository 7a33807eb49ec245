"""The interface of a runtime: eager torch, torch with CUDA graphs, OpenVINO.

A runtime runs the networks; it knows nothing about prompts, noise schedules or requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

import torch

Vectors = Mapping[int, torch.Tensor]
NO_VECTORS: Vectors = MappingProxyType({})


class Moments(NamedTuple):
    """Mean and standard deviation of an encoded picture's latents, unscaled.

    Both are [1, channels, h, w]. `std` is None for a deterministic autoencoder.
    """

    mean: torch.Tensor
    std: torch.Tensor | None


class Runtime(Protocol):
    """The three networks of a latent diffusion model, on one device, in one dtype.

    `dtype` is that of the inputs and outputs (the latents); the precision of the computation is
    the runtime's choice, and part of its `description`.
    """

    @property
    def name(self) -> str:
        """torch or openvino."""

    @property
    def description(self) -> str:
        """For example "openvino 2026.4.1-3 bfloat16, 2 threads"."""

    @property
    def remark(self) -> str:
        """For people: a problem, such as running without CUDA graphs; "" if there is none."""

    @property
    def num_captures(self) -> int:
        """CUDA graphs captured so far; a call that captures one takes longer than others."""

    @property
    def device(self) -> torch.device:
        """Device of inputs and outputs."""

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of inputs and outputs."""

    @property
    def num_bytes(self) -> int:
        """Of the networks' weights in memory."""

    def bucket(self, rows: int) -> int:
        """The row count that `denoise` computes for `rows` rows: the same, or padded."""

    def warm(
        self, rows: int, latents: tuple[int, int, int], prompt_embeds: tuple[int, int]
    ) -> None:
        """Compile what `denoise` with `rows` rows and `decode` need. Callable from any thread.

        Args:
            rows: batch size.
            latents: channels, height and width of one row of the UNet's input.
            prompt_embeds: tokens and hidden size of one row's embeddings.
        """

    def encode(
        self, input_ids: torch.Tensor, clip_skip: int = 1, vectors: Vectors = NO_VECTORS
    ) -> torch.Tensor:
        """Token ids [1, tokens] to prompt_embeds [1, tokens, hidden].

        Args:
            input_ids: of one chunk.
            clip_skip: the layer to read, counted from the end; 1 is the last.
            vectors: embeddings [hidden] by the place of the token in whose stead they stand.
        """

    def denoise(
        self, latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor
    ) -> torch.Tensor:
        """One UNet call.

        Args:
            latents: [rows, channels, height, width], scaled for the timestep; followed by
                the mask and the masked picture's latents for an inpainting model.
            timesteps: float32 [rows].
            prompt_embeds: [rows, tokens, hidden].

        Returns:
            The prediction, [rows, latent channels, height, width].
        """

    def encode_picture(self, image: torch.Tensor) -> Moments:
        """An image [1, 3, height, width] in -1 to 1 to its latents."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [1, channels, h, w], unscaled, to an image [1, 3, height, width] in -1 to 1."""
