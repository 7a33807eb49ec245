"""The methods to enlarge pictures: Lanczos, and the networks of a folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backend.errors import InvalidParams, ModelFailed, Violation
from backend.model.adapters.folder import Entry, Folder
from backend.model.checkpoint.weights_file import read_table
from backend.upscale import LANCZOS, Lanczos, enlarge

if TYPE_CHECKING:
    import torch

    from backend.model.upscalers.network import UpscalerNetwork

logger = logging.getLogger(__name__)

MAX_BYTES = 512 * 2**20
MAX_HEADER_BYTES = 2**20


class Upscalers:
    """Lanczos, and files that spandrel reads; the network used last stays in memory.

    Called from one thread at a time, except `names`.
    """

    def __init__(self, folder: Path, device: Callable[[], torch.device]) -> None:
        """`device`: where networks are to run, asked when one is loaded."""
        self._folder = Folder(folder, _check)
        self._device = device
        self._last: tuple[Entry[None], UpscalerNetwork] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (LANCZOS, *(name for name in self._folder.listing.entries if name != LANCZOS))

    def refusal(self, name: str) -> str:
        """Why there is no such method."""
        return self._folder.listing.refusals.get(name) or Lanczos.offered(self.names)

    def enlarge(
        self,
        name: str,
        pixels: NDArray[np.uint8],
        width: int,
        height: int,
        is_wanted: Callable[[], bool],
    ) -> NDArray[np.uint8]:
        """See `backend.upscale.Upscalers`."""
        entry = None if name == LANCZOS else self._folder.listing.entries.get(name)
        if entry is None:
            return enlarge(pixels, width, height)
        try:
            network = self._network(entry)
        except ModelFailed as error:
            violation = Violation("upscaler", f"{name}: {error}", "UNSUPPORTED")
            raise InvalidParams((violation,)) from error
        drawn = network.enlarge(pixels, is_wanted)
        return drawn if drawn.shape[:2] == (height, width) else enlarge(drawn, width, height)

    def _network(self, entry: Entry[None]) -> UpscalerNetwork:
        if self._last is None or self._last[0] != entry:
            self._last = None  # its memory is free before the next is loaded
            self._last = entry, _network_class()(entry.path, self._device())
        return self._last[1]


def _network_class() -> type[UpscalerNetwork]:
    """Imports torch and spandrel, on first use."""
    try:
        from backend.model.upscalers.network import UpscalerNetwork
    except (ImportError, RuntimeError) as error:  # torchvision raises both
        logger.exception("spandrel can't be imported")
        raise ModelFailed(
            "spandrel can't be imported; the log says why. torchvision has to come from the index "
            "that torch came from."
        ) from error
    return UpscalerNetwork


def _check(path: Path) -> None:
    """Raise ModelFailed if the file is far too large, or not complete."""
    if path.stat().st_size > MAX_BYTES:
        raise ModelFailed("It is far larger than an upscaler.")
    read_table(path, MAX_HEADER_BYTES)
