"""Pictures that requests start from, as everybody but their decoder sees them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from backend.errors import Violation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_PICTURE_BYTES = 4 * 2**20 - 64 * 1024  # what a message of 4 MB has room for beside its texts
MAX_PICTURE_PIXELS = 2**24
DEFAULT_STRENGTH = 0.8
DEFAULT_MASKED_STRENGTH = 1.0


@dataclass(frozen=True, slots=True)
class SourcePicture:
    """A decoded picture of the request's size; equal to another where their files are.

    `pixels`: uint8, [height, width, 3] in RGB, or [height, width] of a mask.
    """

    sha256: str  # of the file
    pixels: NDArray[np.uint8] = field(repr=False, compare=False)


class Sources(NamedTuple):
    """What one request starts from."""

    init_image: SourcePicture | None = None
    mask: SourcePicture | None = None


NO_SOURCES = Sources()


def denoising_steps(num_inference_steps: int, strength: float) -> int:
    """How many of the steps are run, as diffusers counts them."""
    return min(int(num_inference_steps * strength), num_inference_steps)


def strength_violations(
    strength: float, num_inference_steps: int, init_image: SourcePicture | None
) -> list[Violation]:
    """What is wrong with a strength."""
    if not math.isfinite(strength) or not 0 < strength <= 1:
        return [Violation("strength", "Must be above 0, and at most 1.", "OUT_OF_RANGE")]
    if init_image is None or num_inference_steps < 1:
        return []
    if denoising_steps(num_inference_steps, strength) >= 1:
        return []
    text = (
        f"{strength:g} of {num_inference_steps} steps leaves none to run: "
        f"at least {math.ceil(1e4 / num_inference_steps) / 1e4:g}."
    )
    return [Violation("strength", text, "OUT_OF_RANGE")]
