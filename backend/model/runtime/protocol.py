"""What runs the networks: torch, torch in CUDA graphs, OpenVINO. Each is one `Runtime`.

A runtime computes; it knows nothing of prompts, schedules or requests.
"""

from __future__ import annotations

from typing import Protocol

import torch


class Runtime(Protocol):
    """The three networks of a latent diffusion model, on one device, in one dtype.

    `dtype` is that of the tensors going in and out (the latents' dtype); what a runtime
    computes in is its own affair, and part of its `description`.
    """

    @property
    def name(self) -> str:
        """torch or openvino."""

    @property
    def description(self) -> str:
        """For example "openvino 2026.4.1-3 bfloat16, 2 threads"."""

    @property
    def remark(self) -> str:
        """For people: what does not go as it should; "" where all is well."""

    @property
    def num_captures(self) -> int:
        """CUDA graphs captured so far: a call that captures takes longer than others."""

    @property
    def device(self) -> torch.device:
        """Where tensors go in and come out."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the tensors that go in and come out."""

    def bucket(self, rows: int) -> int:
        """The row count that `denoise` computes for `rows` rows: the same, or filled up."""

    def warm(
        self, rows: int, latents: tuple[int, int, int], prompt_embeds: tuple[int, int]
    ) -> None:
        """Get ready for `denoise` of that many rows and `decode`; may be called from any thread.

        Args:
            rows: of the batch.
            latents: channels, height and width of one row's latents.
            prompt_embeds: tokens and hidden size of one row's embeddings.
        """

    def encode(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Token ids [1, tokens] to prompt_embeds [1, tokens, hidden]."""

    def denoise(
        self, latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor
    ) -> torch.Tensor:
        """One UNet call.

        Args:
            latents: [rows, channels, height, width], scaled for the timestep.
            timesteps: float32 [rows], one for each row.
            prompt_embeds: [rows, tokens, hidden].

        Returns:
            The prediction, shaped like `latents`.
        """

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [1, channels, h, w], unscaled, to an image [1, 3, height, width] in -1 to 1."""
