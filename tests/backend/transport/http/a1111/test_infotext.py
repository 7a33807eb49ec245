from __future__ import annotations

import io
import json
import time

import numpy as np
import pytest
from PIL import Image

from backend.images import Provenance, encode
from backend.params import GenerationParams, ImageFormat, Lora
from backend.transport.http.a1111.infotext import parse, read_infotext
from tests.support.fakes import INFO

PARAMS = GenerationParams(
    prompt="a fox,\nvery red",
    negative_prompt="dull: grey, flat",
    height=64,
    width=128,
    guidance_scale=4.5,
    num_inference_steps=7,
    seed=5,
    scheduler="dpmpp_2m_karras",
    model="fake",
    loras=(Lora("pixel", 0.5),),
)


@pytest.mark.parametrize("image_format", list(ImageFormat))
def test_what_our_own_pictures_say(image_format: ImageFormat) -> None:
    provenance = Provenance(PARAMS, seed=6, model=INFO, version="1.0")
    pixels = np.zeros((64, 128, 3), np.uint8)
    text = read_infotext(encode(pixels, image_format, provenance))
    assert text == provenance.parameters()
    assert parse(text) == {
        "Prompt": "a fox,\nvery red <lora:pixel:0.5>",
        "Negative prompt": "dull: grey, flat",
        "Steps": "7",
        "Sampler": "DPM++ 2M",
        "Schedule type": "Karras",
        "CFG scale": "4.5",
        "Seed": "6",
        "Size-1": "128",
        "Size-2": "64",
        "Model": "fake",
        "Model hash": "0123456789",
        "Version": "text2image 1.0",
    }


def test_quoted_values_and_their_commas() -> None:
    text = 'a\nSteps: 2, Lora hashes: "one: 1, two: 2", Odd: "open, Seed: 3'
    found = parse(text)
    assert (found["Lora hashes"], found["Odd"], found["Seed"]) == ("one: 1, two: 2", '"open', "3")


@pytest.mark.parametrize("text", ["", "a prompt, alone", "Time: noon, place: here", "\n\n", ":,:"])
def test_a_text_without_settings_is_a_prompt(text: str) -> None:
    assert parse(text)["Prompt"] == text.strip()


def test_a_picture_without_a_text() -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG")
    assert read_infotext(out.getvalue()) == ""


@pytest.mark.parametrize("part", ["a", "a:", "a: 1,", '"', 'a: "', ",", " ", "a: {", "a: [["])
def test_a_hostile_text_takes_no_time(part: str) -> None:
    begun = time.process_time()
    json.dumps(parse(part * (65536 // len(part))))
    assert time.process_time() - begun < 0.5
