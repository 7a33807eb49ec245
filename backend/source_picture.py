"""Initial pictures and masks of requests, in decoded form."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from backend.errors import Violation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_PICTURE_BYTES = 4 * 2**20 - 64 * 1024  # room for texts in a message of 4 MB
MAX_PICTURE_PIXELS = 2**24
DEFAULT_STRENGTH = 0.8
DEFAULT_MASKED_STRENGTH = 1.0
DEFAULT_UPSCALE_STRENGTH = 0.5
MAX_UPSCALE = 4.0


@dataclass(frozen=True, slots=True)
class SourcePicture:
    """A decoded picture of the request's size. Equal if the files are equal.

    `pixels`: uint8, [height, width, 3] in RGB, or [height, width] for a mask.
    """

    sha256: str  # of the file
    pixels: NDArray[np.uint8] = field(repr=False, compare=False)


class Sources(NamedTuple):
    """The initial picture and mask of one request."""

    init_image: SourcePicture | None = None
    mask: SourcePicture | None = None


NO_SOURCES = Sources()


def denoising_steps(num_inference_steps: int, strength: float) -> int:
    """Number of steps to run, as in diffusers."""
    return min(int(num_inference_steps * strength), num_inference_steps)


def upscaled_size(
    height: int, width: int, upscale: float, size_multiple: int
) -> tuple[int, int] | None:
    """Height and width of the second pass; None where there is none."""
    if not math.isfinite(upscale) or not 1 < upscale <= MAX_UPSCALE:
        return None

    def enlarged(side: int) -> int:
        return round(side * upscale / size_multiple) * size_multiple

    return enlarged(height), enlarged(width)


def strength_violations(
    field: str, strength: float, num_inference_steps: int, *, is_used: bool
) -> list[Violation]:
    """What is wrong with a strength, or with one that nothing uses."""
    if not math.isfinite(strength) or not 0 < strength <= 1:
        return [Violation(field, "Must be above 0, and at most 1.", "OUT_OF_RANGE")]
    if not is_used or num_inference_steps < 1:
        return []
    if denoising_steps(num_inference_steps, strength) >= 1:
        return []
    text = (
        f"{strength:g} of {num_inference_steps} steps leaves none to run: "
        f"at least {math.ceil(1e4 / num_inference_steps) / 1e4:g}."
    )
    return [Violation(field, text, "OUT_OF_RANGE")]
