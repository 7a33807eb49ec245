"""What a mask keeps."""

from __future__ import annotations

import numpy as np

from backend.mask import SOFT_EDGE, keep_unmasked

ORIGINAL = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
DRAWN = 255 - ORIGINAL


def test_black_is_kept_to_the_bit_and_the_inside_of_white_is_drawn() -> None:
    mask = np.zeros((32, 48), np.uint8)
    mask[8:24, 8:40] = 255
    mask[0, 0] = 127  # nearer to black
    found = keep_unmasked(DRAWN, ORIGINAL, mask)
    assert found.dtype == np.uint8
    assert np.array_equal(found[mask < 128], ORIGINAL[mask < 128])
    inside = slice(8 + SOFT_EDGE, 24 - SOFT_EDGE), slice(8 + SOFT_EDGE, 40 - SOFT_EDGE)
    assert np.array_equal(found[inside], DRAWN[inside])


def test_the_edge_is_soft() -> None:
    mask = np.zeros((8, 16), np.uint8)
    mask[:, 8:] = 255
    black, white = np.zeros((8, 16, 3), np.uint8), np.full((8, 16, 3), 255, np.uint8)
    row = keep_unmasked(white, black, mask)[0, :, 0]
    assert row.tolist() == [0] * 8 + [51, 102, 153, 204] + [255] * 4


def test_a_thin_line_is_drawn_in_part() -> None:
    mask = np.zeros((32, 48), np.uint8)
    mask[16] = 255
    found = keep_unmasked(DRAWN, ORIGINAL, mask)
    assert not np.array_equal(found[16], ORIGINAL[16])
    assert np.array_equal(found[:16], ORIGINAL[:16])


def test_a_white_mask_keeps_nothing() -> None:
    white = np.full((32, 48), 255, np.uint8)
    assert np.array_equal(keep_unmasked(DRAWN, ORIGINAL, white), DRAWN)
