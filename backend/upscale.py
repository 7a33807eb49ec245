"""Pictures made larger without a diffusion model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.errors import Violation
from backend.params import ImageFormat

LANCZOS = "lanczos"
MAX_SCALE = 8.0


class Cancelled(Exception):
    """Nobody waits for the picture any more."""


@dataclass(frozen=True, slots=True)
class Enlargement:
    """A file to enlarge, as it was sent. `early_violations` were found while converting it."""

    data: bytes = field(repr=False)
    scale: float
    upscaler: str
    output_format: ImageFormat
    early_violations: tuple[Violation, ...] = ()

    def violations(self, upscalers: Upscalers) -> list[Violation]:
        """What is wrong beside the file."""
        found = []
        if not math.isfinite(self.scale) or not 1 <= self.scale <= MAX_SCALE:
            found.append(Violation("scale", f"Must be 1 to {MAX_SCALE:g}.", "OUT_OF_RANGE"))
        if self.upscaler not in upscalers.names:
            text = upscalers.refusal(self.upscaler)
            found.append(Violation("upscaler", text, "UNKNOWN"))
        return found


class Upscalers(Protocol):
    """The methods to enlarge pictures, by name."""

    @property
    def names(self) -> tuple[str, ...]:
        """The default first."""

    def refusal(self, name: str) -> str:
        """A sentence that says why there is no such method."""

    def enlarge(
        self,
        name: str,
        pixels: NDArray[np.uint8],
        width: int,
        height: int,
        is_wanted: Callable[[], bool],
    ) -> NDArray[np.uint8]:
        """[h, w, 3] to [height, width, 3]. `is_wanted`: asked now and then while it takes long.

        Raises:
            InvalidParams: the method's file can't be used.
            Cancelled: it was no longer wanted.
        """


class Lanczos:
    """The one method that needs no file."""

    names: tuple[str, ...] = (LANCZOS,)

    @staticmethod
    def offered(names: tuple[str, ...]) -> str:
        return f"Must be one of {', '.join(names)}."

    def refusal(self, name: str) -> str:
        return self.offered(self.names)

    def enlarge(
        self,
        name: str,
        pixels: NDArray[np.uint8],
        width: int,
        height: int,
        is_wanted: Callable[[], bool],
    ) -> NDArray[np.uint8]:
        return enlarge(pixels, width, height)


def enlarge(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """[h, w, 3] to [height, width, 3] by Lanczos."""
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
    return np.array(image, np.uint8)
