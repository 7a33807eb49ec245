"""Images contain their provenance, whatever texts it has."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from backend.exif import EXIF_FOLDER, MAKER_NOTE, UNICODE, USER_COMMENT
from backend.images import NOTE_PREFIX, SAMPLERS, Provenance, encode
from backend.images import encode_preview as encode_small
from backend.model.noise_schedulers import RECIPES
from backend.params import ImageFormat, Lora
from backend.prompt_syntax import PromptSyntax
from tests.support.fakes import INFO, fake_params, noise

TEXTS = [
    "a red apple",
    'commas, quotes "and" colons: all of them',
    "Füchse, naïve façade",
    "狐 в снегу",
    "🦊👨‍👩‍👧 emoji",
    "two\nlines\r\nthree",
    "tab\tand \\backslash\\ and {braces}",
    "(weighted:1.3) [alternating|words]",
    "x" * 2000,
    "🦊" * 2000,
]
LOSSY = [ImageFormat.JPEG, ImageFormat.WEBP]


def provenance(prompt: str = "a red apple", **changes: Any) -> Provenance:
    return Provenance(fake_params(prompt, **changes), 42, INFO, "1.0")


def reopen(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def comment(image: Image.Image) -> str:
    """The EXIF user comment, as AUTOMATIC1111's readers take it."""
    raw = image.getexif().get_ifd(EXIF_FOLDER)[USER_COMMENT]
    assert raw.startswith(UNICODE)
    return str(raw.removeprefix(UNICODE).decode("utf-16-be"))


class TestParameters:
    def test_the_form_that_other_programs_read(self) -> None:
        told = provenance(negative_prompt="blurry", scheduler="heun", guidance_scale=7.0)
        assert told.parameters() == (
            "a red apple\n"
            "Negative prompt: blurry\n"
            "Steps: 3, Sampler: Heun, CFG scale: 7, Seed: 42, Size: 64x64, Model: fake, "
            "Model hash: 0123456789, Version: text2image 1.0"
        )

    def test_no_negative_prompt_no_line(self) -> None:
        assert "Negative" not in provenance().parameters()

    def test_width_comes_first_in_the_size(self) -> None:
        assert "Size: 128x64" in provenance(height=64, width=128).parameters()

    def test_values_that_could_be_taken_for_several_are_quoted(self) -> None:
        told = replace(provenance(), model=replace(INFO, name='a, "b": c'))
        assert 'Model: "a, \\"b\\": c", Model hash' in told.parameters()

    def test_loras_are_told(self) -> None:
        told = provenance(loras=(Lora("ink", 0.5), Lora("oil"))).parameters()
        assert told.splitlines()[0].endswith(" <lora:ink:0.5> <lora:oil:1>")

    def test_how_the_prompt_was_read_is_told(self) -> None:
        told = provenance(prompt_syntax=PromptSyntax.A1111, clip_skip=2).parameters()
        assert "Clip skip: 2, Prompt syntax: a1111" in told
        assert "syntax" not in provenance().parameters()

    def test_every_noise_scheduler_has_a_name_there(self) -> None:
        assert SAMPLERS.keys() == RECIPES.keys()

    def test_guidance_is_told_as_it_was_typed(self) -> None:
        as_float32 = float(np.float32(7.3))
        assert "CFG scale: 7.3," in provenance(guidance_scale=as_float32).parameters()


class TestPng:
    @pytest.mark.parametrize("text", TEXTS)
    def test_both_texts_are_read_back(self, text: str) -> None:
        told = provenance(text, negative_prompt=text)
        info = reopen(encode(noise(told.params, 0), ImageFormat.PNG, told)).info
        assert info["parameters"] == told.parameters()
        exact = json.loads(info["text2image"])
        assert exact["prompt"] == exact["negative_prompt"] == text

    def test_the_json_has_all_that_makes_it_again(self) -> None:
        told = provenance(scheduler="pndm", num_images=3, loras=(Lora("ink", 0.5),))
        exact = json.loads(reopen(encode(noise(told.params, 0), ImageFormat.PNG, told)).info[
            "text2image"
        ])  # fmt: skip
        assert exact == {
            "prompt": "a red apple",
            "negative_prompt": "",
            "height": 64,
            "width": 64,
            "guidance_scale": 7.5,
            "num_inference_steps": 3,
            "seed": 42,
            "scheduler": "pndm",
            "model": "fake",
            "model_revision": "0123456789abcdef",
            "loras": [{"name": "ink", "scale": 0.5}],
            "prompt_syntax": "plain",
            "device": "cpu",
            "dtype": "float32",
            "runtime": "fake",
            "version": "1.0",
        }

    def test_pixels_are_untouched(self) -> None:
        pixels = noise(fake_params(height=72, width=136), 0)
        assert np.array_equal(
            np.asarray(reopen(encode(pixels, ImageFormat.PNG, provenance()))), pixels
        )

    @given(text=st.text(min_size=1, max_size=200))
    def test_whatever_the_prompt_is_the_file_opens(self, text: str) -> None:
        pixels = np.zeros((8, 8, 3), np.uint8)
        for image_format in ImageFormat:
            image = reopen(encode(pixels, image_format, provenance(text)))
            if image_format is ImageFormat.PNG:
                assert json.loads(image.info["text2image"])["prompt"] == text
            else:
                assert comment(image).startswith(text)


class TestLossy:
    @pytest.mark.parametrize("image_format", LOSSY)
    @pytest.mark.parametrize("text", TEXTS)
    def test_the_text_is_read_back(self, image_format: ImageFormat, text: str) -> None:
        told = provenance(text, negative_prompt=text)
        image = reopen(encode(noise(told.params, 0), image_format, told))
        assert image.format == image_format.value
        assert comment(image) == told.parameters()
        note = image.getexif().get_ifd(EXIF_FOLDER)[MAKER_NOTE]
        assert note == NOTE_PREFIX + told.json().encode()

    @pytest.mark.parametrize("image_format", LOSSY)
    def test_the_picture_is_nearly_the_same(self, image_format: ImageFormat) -> None:
        ramp = np.linspace(0, 255, 64, dtype=np.uint8)
        pixels = np.stack([np.tile(ramp, (72, 1))] * 3, axis=-1)
        again = np.asarray(reopen(encode(pixels, image_format, provenance())), dtype=int)
        assert again.shape == pixels.shape
        assert np.abs(again - pixels).mean() < 4


def test_mime_types() -> None:
    assert [one.mime_type for one in ImageFormat] == ["image/png", "image/jpeg", "image/webp"]


def test_a_preview_is_a_small_jpeg_without_a_story() -> None:
    data = encode_small(noise(fake_params(), 0))
    image = reopen(data)
    assert image.format == "JPEG"
    assert not image.getexif()
    assert len(data) < 10_000
