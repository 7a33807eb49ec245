"""Previews of unfinished latents: a small convolution instead of the VAE decoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from backend.engine.protocols import Pixels

# RGB of each of the four latent channels of Stable Diffusion 1.x, by Hugging Face user keturn:
# https://discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204/2
SD1_LATENT_RGB = (
    (0.298, 0.207, 0.208),
    (0.187, 0.286, 0.173),
    (-0.158, 0.189, 0.264),
    (-0.184, -0.271, -0.473),
)
SD1_SCALING_FACTOR = 0.18215

LARGEST_PATCH = 4  # pixels per latent cell and side in a fitted preview
NEIGHBOURHOOD = 3
LARGEST_SAMPLE = 12  # latent cells per side
SAMPLED_CELLS = 1000
RIDGE = 1e-2


class PreviewProjector:
    """Maps latents to RGB: a convolution over k x k cells, then a pixel shuffle."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Use the given convolution.

        Args:
            weight: float32 [3 * patch * patch, channels, k, k], k odd.
            bias: float32 [3 * patch * patch].
        """
        self.weight = weight
        self.bias = bias
        self._patch = round((len(bias) / 3) ** 0.5)
        self._margin = weight.shape[-1] // 2

    @torch.inference_mode()
    def project(self, latents: torch.Tensor) -> Pixels:
        """Latents [1, channels, h, w] to pixels [h * patch, w * patch, 3]; never raises."""
        cells = torch.nan_to_num(latents.to("cpu", torch.float32))
        padded = F.pad(cells, (self._margin,) * 4, mode="replicate")
        image = F.pixel_shuffle(F.conv2d(padded, self.weight, self.bias), self._patch)
        pixels = ((image[0] / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def published_projector() -> PreviewProjector:
    """The projector for Stable Diffusion 1.x: one pixel per latent cell."""
    weight = torch.tensor(SD1_LATENT_RGB).T[:, :, None, None]  # [3, 4, 1, 1]
    return PreviewProjector(weight.contiguous(), torch.zeros(3))


@torch.inference_mode()
def fit_projector(
    decode: Callable[[torch.Tensor], torch.Tensor],
    channels: int,
    vae_scale_factor: int,
    native: tuple[int, int],
) -> PreviewProjector:
    """Fit a projector by ridge regression on decoded smooth random latents.

    Args:
        decode: latents [1, channels, h, w] in float32 to an image [1, 3, height, width], -1 to 1.
        channels: number of latent channels.
        vae_scale_factor: pixels per latent cell and side.
        native: height and width of the native size in latent cells. A small native size is used
            for sampling too, so that no other shape needs to be compiled.
    """
    patch = min(LARGEST_PATCH, vae_scale_factor)
    generator = torch.Generator().manual_seed(0)
    height, width = (min(LARGEST_SAMPLE, side) for side in native)
    features, targets = [], []
    for index in range(-(-SAMPLED_CELLS // (height * width))):
        latents = _smooth_noise((channels, height, width), 1 + index % 2, generator)
        image = F.avg_pool2d(decode(latents).float().cpu(), vae_scale_factor // patch)
        padded = F.pad(latents, (NEIGHBOURHOOD // 2,) * 4, mode="replicate")
        features.append(F.unfold(padded, NEIGHBOURHOOD)[0].T)  # [cells, channels * k * k]
        targets.append(F.pixel_unshuffle(image, patch)[0].flatten(1).T)  # [cells, 3 * patch²]
    weight, bias = _ridge(torch.cat(features), torch.nan_to_num(torch.cat(targets)))
    shape = (3 * patch * patch, channels, NEIGHBOURHOOD, NEIGHBOURHOOD)
    return PreviewProjector(weight.T.reshape(shape).contiguous(), bias)


def _smooth_noise(
    shape: tuple[int, int, int], radius: int, generator: torch.Generator
) -> torch.Tensor:
    """Noise [1, *shape] of unit standard deviation, upsampled from a `radius` times smaller one."""
    channels, height, width = shape
    coarse = (-(-height // radius), -(-width // radius))
    noise = torch.randn((1, channels, *coarse), generator=generator)
    smooth = F.interpolate(noise, size=(height, width), mode="bilinear", align_corners=False)
    return smooth / smooth.std().clamp_min(1e-6)


def _ridge(features: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [features, outputs] and bias [outputs] of the ridge regression."""
    inputs, outputs = features.double(), targets.double()
    centre, mean = inputs.mean(0), outputs.mean(0)
    inputs = inputs - centre
    gram = inputs.T @ inputs + RIDGE * len(inputs) * torch.eye(inputs.shape[1])
    weight = torch.linalg.solve(gram, inputs.T @ (outputs - mean))
    return weight.float(), (mean - centre @ weight).float()
