"""Pictures made larger without a model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.errors import Violation
from backend.params import ImageFormat

UPSCALERS = ("lanczos",)
MAX_SCALE = 8.0


@dataclass(frozen=True, slots=True)
class Enlargement:
    """A file to enlarge, as it was sent. `early_violations` were found while converting it."""

    data: bytes = field(repr=False)
    scale: float
    upscaler: str
    output_format: ImageFormat
    early_violations: tuple[Violation, ...] = ()

    def violations(self) -> list[Violation]:
        """What is wrong beside the file."""
        found = []
        if not math.isfinite(self.scale) or not 1 <= self.scale <= MAX_SCALE:
            found.append(Violation("scale", f"Must be 1 to {MAX_SCALE:g}.", "OUT_OF_RANGE"))
        if self.upscaler not in UPSCALERS:
            text = f"Must be one of {', '.join(UPSCALERS)}."
            found.append(Violation("upscaler", text, "UNKNOWN"))
        return found


def enlarge(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """[h, w, 3] to [height, width, 3] by Lanczos."""
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
    return np.array(image, np.uint8)
