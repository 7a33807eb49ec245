"""What a mask keeps of the initial picture, in pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SOFT_EDGE = 4  # pixels


def keep_unmasked(
    drawn: NDArray[np.uint8], original: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """`drawn` where the mask is white, `original` where it is black, bit by bit.

    The model's latents keep the black part only roughly: an autoencoder loses detail, and a cell
    covers several pixels. Inside the white part, the outermost pixels mix both, so that no edge
    shows.

    Args:
        drawn: [height, width, 3].
        original: [height, width, 3].
        mask: [height, width].
    """
    white = mask > 127
    if white.all():
        return drawn
    from scipy import ndimage  # the import takes half a second, and few pictures have a mask

    depth = ndimage.distance_transform_edt(white)  # pixels to the nearest black one
    weight = np.minimum(depth / (SOFT_EDGE + 1), 1)[..., None].astype(np.float32)
    mixed: NDArray[np.uint8] = np.rint(weight * drawn + (1 - weight) * original).astype(np.uint8)
    return mixed
