"""Initial pictures: accepted files, files refused before decoding, and the decoded result."""

from __future__ import annotations

import hashlib
import io
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.abilities import Abilities
from backend.draft import Draft
from backend.params import Limits
from backend.picture_reader import ORIENTATION, read_sources, size_like
from tests.support.fakes import INFO, fake_draft

LIMITS = Limits()
RED, WHITE = (255, 0, 0), (255, 255, 255)


def file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def stripes(width: int = 96, height: int = 64) -> Image.Image:
    """Red on the left, green in the middle, blue on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for channel in range(3):
        pixels[:, channel * width // 3 : (channel + 1) * width // 3, channel] = 255
    return Image.fromarray(pixels)


def read(init_image: bytes = b"", mask: bytes = b"", **changes: Any) -> Draft:
    return read_sources(fake_draft(init_image=init_image, mask=mask, **changes), INFO, LIMITS)


def pixels_of(draft: Draft) -> Any:
    assert draft.early_violations == ()
    assert draft.sources.init_image is not None
    return draft.sources.init_image.pixels


def refusal(draft: Draft) -> tuple[str, str, str]:
    (violation,) = draft.early_violations
    assert draft.sources == (None, None)
    assert draft.init_image == draft.mask == b""
    return violation.field, violation.reason, violation.description


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_it_is_scaled_to_cover_and_cropped_in_the_middle(kind: str) -> None:
    options = {} if kind == "PNG" else {"quality": 95}
    pixels = pixels_of(read(file(stripes(), kind, **options), width=64, height=128))
    assert pixels.shape == (128, 64, 3)
    assert pixels.dtype == np.uint8
    # 96 x 64 becomes 192 x 128, of which the middle third stays: all green
    assert np.abs(pixels[:, 8:-8].astype(int) - (0, 255, 0)).max() < 12


def test_of_its_own_size_not_a_pixel_changes() -> None:
    image = stripes(64, 72)
    assert np.array_equal(pixels_of(read(file(image), width=64, height=72)), np.array(image))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_upright(orientation: int) -> None:
    """The file of every orientation holds the same scene, stored as such a camera would."""
    scene = Image.fromarray(np.arange(64 * 96, dtype=np.uint32).reshape(64, 96).astype("u1"))
    stored = {
        1: scene,
        2: scene.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: scene.transpose(Image.Transpose.ROTATE_180),
        4: scene.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: scene.transpose(Image.Transpose.TRANSPOSE),
        6: scene.transpose(Image.Transpose.ROTATE_90),
        7: scene.transpose(Image.Transpose.TRANSVERSE),
        8: scene.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    found = read(file(stored, exif=exif), width=96, height=64)
    assert np.array_equal(pixels_of(found)[..., 0], np.array(scene))


def test_sizes_follow_the_picture_where_none_is_given() -> None:
    draft = read(file(stripes(300, 150)))
    assert (draft.width, draft.height) == (88, 64)  # 64 x 64 pixels would be 90.5 x 45.3
    assert pixels_of(draft).shape == (64, 88, 3)
    assert pixels_of(read(file(stripes(300, 150)), width=72)).shape == (64, 72, 3)


def test_sizes_that_a_model_declares_are_taken_by_shape() -> None:
    able = replace(INFO, abilities=Abilities(sizes=((128, 128), (128, 192), (192, 128))))
    assert size_like(1000, 900, able, LIMITS) == (128, 128)
    assert size_like(1000, 600, able, LIMITS) == (192, 128)
    assert size_like(3, 4000, able, LIMITS) == (128, 192)
    assert size_like(3, 4000, INFO, LIMITS) == (64, 2048)


def test_what_is_transparent_is_white() -> None:
    image = stripes().convert("RGBA")
    image.putalpha(0)
    assert (pixels_of(read(file(image), width=96, height=64)) == 255).all()


def test_sixteen_bits_grey_and_palettes_are_read() -> None:
    deep = Image.fromarray(np.full((64, 64), 0x8000, np.uint16))
    assert (pixels_of(read(file(deep))) == 0x80).all()
    assert (pixels_of(read(file(Image.new("L", (64, 64), 9)))) == 9).all()
    assert (pixels_of(read(file(Image.new("RGB", (64, 64), RED).convert("P")))) == RED).all()
    cmyk = pixels_of(read(file(Image.new("CMYK", (64, 64)), "JPEG")))
    assert np.abs(cmyk.astype(int) - WHITE).max() < 3


def test_files_are_told_apart_by_their_bytes() -> None:
    data = file(stripes())
    found, other = read(data).sources.init_image, read(file(stripes(), "JPEG")).sources.init_image
    assert found is not None
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found == read(data).sources.init_image
    assert found != other
    assert "pixels" not in repr(found)


@pytest.mark.parametrize(
    "data", [b"x", b"\x89PNG\r\n\x1a\n", file(Image.new("RGB", (9, 9)), "BMP"), b"%PDF-1.7"]
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    field, reason, text = refusal(read(data))
    assert (field, reason) == ("init_image", "UNREADABLE")
    assert text == "Can't be read as a PNG, JPEG or WebP file."


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_half_a_file_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = file(Image.fromarray(noise), kind)
    field, reason, _ = refusal(read(data[: len(data) // 2]))
    assert (field, reason) == ("init_image", "UNREADABLE")


@pytest.mark.parametrize(("side", "told"), [(5000, ", not 5000 × 5000."), (30_000, ".")])
def test_a_bomb_is_refused_before_it_is_decoded(side: int, told: str) -> None:
    data = file(Image.new("1", (side, side)))
    assert len(data) < 200_000
    started = time.process_time()
    field, reason, text = refusal(read(data))
    assert time.process_time() - started < 0.2
    assert (field, reason) == ("init_image", "TOO_MANY_PIXELS")
    assert text == f"At most 16,777,216 pixels{told}"


def test_a_webp_of_few_bytes_that_claims_many_pixels_is_refused() -> None:
    data = bytearray(file(Image.new("RGB", (1, 1), RED), "WEBP", lossless=True))
    start = data.index(b"VP8L") + 9  # behind the signature: 14 bits of width - 1, 14 of height - 1
    size = int.from_bytes(data[start : start + 4], "little") | (1 << 28) - 1
    data[start : start + 4] = size.to_bytes(4, "little")
    field, reason, text = refusal(read(bytes(data)))
    assert (field, reason) == ("init_image", "TOO_MANY_PIXELS")
    assert text == "At most 16,777,216 pixels."


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_moves_is_refused(kind: str) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in (RED, WHITE)]
    data = file(frames[0], kind, save_all=True, append_images=frames[1:])
    assert refusal(read(data))[1] == "TOO_MANY_FRAMES"


def test_both_files_together_are_bounded() -> None:
    too_large = b"x" * (LIMITS.max_picture_bytes // 2 + 1)
    field, reason, text = refusal(read(too_large, too_large))
    assert (field, reason) == ("init_image", "TOO_LARGE")
    assert "4,128,768 bytes" in text


def test_a_size_out_of_bounds_is_not_decoded_for() -> None:
    draft = read(file(stripes()), width=100_000, height=100_000)
    assert draft.sources == (None, None)
    assert draft.early_violations == ()  # the size itself is refused with the other fields


class TestMask:
    def test_it_goes_where_the_picture_goes(self) -> None:
        mask = Image.new("L", (96, 64))
        mask.paste(255, (0, 0, 48, 64))
        draft = read(file(stripes()), file(mask), width=64, height=64)
        assert draft.sources.mask is not None
        marked = draft.sources.mask.pixels
        assert marked.shape == (64, 64)
        assert marked[:, :30].min() == 255
        assert marked[:, 34:].max() == 0

    @pytest.mark.parametrize(
        "mask",
        [
            Image.fromarray(np.repeat([[0xFFFF, 0]], 2, 0).astype(np.uint16)),
            Image.fromarray(np.repeat([[255, 0]], 2, 0).astype(np.uint8)).convert("1"),
            Image.fromarray(np.repeat([[[9, 0], [0, 255]]], 2, 0).astype(np.uint8), "LA"),
            Image.fromarray(np.repeat([[255, 0]], 2, 0).astype(np.uint8)).convert("P"),
        ],
        ids=["16 bits", "1 bit", "transparent is white", "palette"],
    )
    def test_every_mode_marks_the_left(self, mask: Image.Image) -> None:
        large = mask.resize((96, 64), Image.Resampling.NEAREST)
        draft = read(file(stripes()), file(large), width=96, height=64)
        assert draft.early_violations == ()
        assert draft.sources.mask is not None
        marked = draft.sources.mask.pixels > 127
        assert marked[:, :48].all()
        assert not marked[:, 48:].any()

    def test_it_is_turned_upright_with_its_picture(self) -> None:
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        mask = Image.new("L", (64, 96))
        mask.paste(255, (0, 48, 64, 96))  # at the bottom of the file, which is shown on the left
        draft = read(file(stripes(64, 96), exif=exif), file(mask, exif=exif), width=96, height=64)
        assert draft.sources.mask is not None
        assert draft.sources.mask.pixels[:, :48].min() == 255
        assert draft.sources.mask.pixels[:, 48:].max() == 0

    @pytest.mark.parametrize(
        ("picture", "mask", "reason", "words"),
        [
            (b"", file(Image.new("L", (96, 64), 255)), "NEEDS_INIT_IMAGE", "needs an init_image"),
            (file(stripes()), file(Image.new("L", (64, 64), 255)), "WRONG_SIZE", "96 × 64, not 64"),
            (file(stripes()), file(Image.new("L", (96, 64), 127)), "EMPTY", "black all over"),
            (file(stripes()), b"mask", "UNREADABLE", "PNG, JPEG or WebP"),
        ],
    )
    def test_a_wrong_one_is_refused(
        self, picture: bytes, mask: bytes, reason: str, words: str
    ) -> None:
        draft = read(picture, mask)
        (violation,) = draft.early_violations
        assert (violation.field, violation.reason) == ("mask", reason)
        assert words in violation.description

    def test_everything_that_is_wrong_is_told_at_once(self) -> None:
        draft = read(b"picture", b"mask")
        assert [violation.field for violation in draft.early_violations] == ["init_image", "mask"]
