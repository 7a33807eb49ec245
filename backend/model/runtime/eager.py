"""PyTorch in eager mode: the reference runtime, bitwise equal to diffusers."""

from __future__ import annotations

import torch

from backend.model.checkpoint.components import Components
from backend.model.devices import count_threads, move
from backend.model.runtime.protocol import NO_VECTORS, Moments, Vectors
from backend.model.runtime.text_encoder import encode_text


class TorchRuntime:
    """Calls the networks directly; attention is torch's SDPA."""

    name = "torch"
    remark = ""
    num_captures = 0

    def __init__(self, components: Components) -> None:
        self.text_encoder, self.unet, self.vae = components.networks
        self.device: torch.device = self.unet.device
        self.dtype: torch.dtype = self.unet.dtype

    @property
    def description(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        if self.device.type == "cpu":
            return f"torch {torch.__version__} {dtype}, {count_threads(torch.get_num_threads())}"
        return f"torch {torch.__version__} {dtype}, {self.device.type}"

    @property
    def num_bytes(self) -> int:
        networks: tuple[torch.nn.Module, ...] = (self.text_encoder, self.unet, self.vae)
        return sum(weight.nbytes for network in networks for weight in network.parameters())

    def bucket(self, rows: int) -> int:
        return rows

    def warm(
        self, rows: int, latents: tuple[int, int, int], prompt_embeds: tuple[int, int]
    ) -> None:
        """Does nothing: eager mode compiles nothing."""

    def encode(
        self, input_ids: torch.Tensor, clip_skip: int = 1, vectors: Vectors = NO_VECTORS
    ) -> torch.Tensor:
        ids = move(input_ids, self.device)
        return encode_text(self.text_encoder, ids, clip_skip, vectors).to(self.dtype)

    @torch.inference_mode()
    def denoise(
        self, latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor
    ) -> torch.Tensor:
        prediction: torch.Tensor = self.unet(
            latents,
            move(timesteps, self.device),
            encoder_hidden_states=prompt_embeds,
            return_dict=False,
        )[0]
        # Otherwise the memory layout, and with it the result, could depend on the last batch.
        return prediction.contiguous()

    @torch.inference_mode()
    def encode_picture(self, image: torch.Tensor) -> Moments:
        encoded = self.vae.encode(image)
        if hasattr(encoded, "latents"):
            return Moments(encoded.latents, None)
        return Moments(encoded.latent_dist.mean, encoded.latent_dist.std)

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        image: torch.Tensor = self.vae.decode(latents, return_dict=False)[0]
        return image
