"""One network that enlarges pictures, loaded from a file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError

from backend.errors import ModelFailed
from backend.model.runtime.cuda_graphs import CAPTURE
from backend.model.upscalers.tiles import tiles, times
from backend.upscale import Cancelled


class UpscalerNetwork:
    """Enlarges pictures by a fixed whole number."""

    def __init__(self, path: Path, device: torch.device) -> None:
        """Load a `.safetensors` file.

        Raises:
            ModelFailed: it is not a network that enlarges colour pictures.
        """
        try:
            found = ModelLoader().load_from_state_dict(load_file(path))
        except UnsupportedModelError as error:
            raise ModelFailed("It is no upscaler of a known architecture.") from error
        except Exception as error:  # spandrel infers sizes from tensors without checking them
            raise ModelFailed("It is damaged, or no upscaler.") from error
        if not isinstance(found, ImageModelDescriptor) or found.purpose != "SR":
            raise ModelFailed(f"It is a {found.architecture.name} network that doesn't enlarge.")
        if (found.input_channels, found.output_channels) != (3, 3):
            raise ModelFailed("It doesn't enlarge colour pictures.")
        self.scale: int = found.scale
        self._network: Any = found.to(device).eval()
        self._device = device

    @torch.inference_mode()
    def enlarge(
        self, pixels: NDArray[np.uint8], is_wanted: Callable[[], bool]
    ) -> NDArray[np.uint8]:
        """[h, w, 3] to [scale * h, scale * w, 3], in tiles.

        Raises:
            Cancelled: `is_wanted` returned False between two tiles.
        """
        height, width = pixels.shape[:2]
        large = np.empty((self.scale * height, self.scale * width, 3), np.uint8)
        for tile in tiles(height, width):
            if not is_wanted():
                raise Cancelled
            drawn = self._draw(pixels[tile.seen])
            large[times(tile.kept, self.scale)] = drawn[times(tile.inner, self.scale)]
        return large

    def _draw(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        # On CUDA, no other thread may use the device while a graph is captured.
        with CAPTURE if self._device.type == "cuda" else nullcontext():
            part = torch.from_numpy(pixels.copy()).to(self._device)
            drawn = self._network(part.permute(2, 0, 1)[None].float() / 255)[0]
            rounded = (drawn.clamp(0, 1) * 255).round().to(torch.uint8)
            found: NDArray[np.uint8] = rounded.permute(1, 2, 0).cpu().numpy()
        return found
