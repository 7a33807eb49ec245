"""Other programs can read the metadata of our images."""

from __future__ import annotations

import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import piexif
import piexif.helper
import pytest
from PIL import Image
from sd_parsers import ParserManager

from backend.images import Provenance, encode
from backend.params import ImageFormat, Lora
from backend.prompt_syntax import PromptSyntax
from tests.support.fakes import INFO, fake_params, noise
from tests.support.needs import need
from ui.metadata.reader import parse, read_file

PROMPT = "a {red|blue} fox, 狐 🦊, “quoted”"
NEGATIVE = "rain, fog"
LOSSY = [ImageFormat.JPEG, ImageFormat.WEBP]
PARAMS = fake_params(
    PROMPT,
    negative_prompt=NEGATIVE,
    scheduler="dpmpp_2m_karras",
    guidance_scale=float(np.float32(7.1234567)),
    num_inference_steps=3,
)
PROVENANCE = Provenance(PARAMS, 123456789012, INFO, "1.0")


def picture(image_format: ImageFormat) -> bytes:
    return encode(noise(PARAMS, 0), image_format, PROVENANCE)


@pytest.fixture(params=list(ImageFormat), ids=lambda one: one.value)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"picture.{request.param.value.lower()}"
    path.write_bytes(picture(request.param))
    return path


@pytest.mark.parametrize("text", ["json", "parameters"])
def test_the_studio_reads_prompts_as_they_were_meant(text: str) -> None:
    """It reads brackets as weights, and LoRAs where AUTOMATIC1111 writes them."""

    def read(**changes: Any) -> str:
        params = fake_params(r"a (cat)", **changes)
        return parse(getattr(Provenance(params, 1, INFO, "1.0"), text)())[0].prompt

    assert read() == r"a \(cat\)"
    weighted = read(prompt_syntax=PromptSyntax.A1111, loras=(Lora("ink", 0.5), Lora("oil")))
    assert weighted == "a (cat) <lora:ink:0.5> <lora:oil:1>"


@pytest.mark.parametrize("image_format", LOSSY)
def test_piexif_finds_the_comment(image_format: ImageFormat) -> None:
    block = Image.open(io.BytesIO(picture(image_format))).info["exif"]
    comment = piexif.load(block)["Exif"][piexif.ExifIFD.UserComment]
    assert piexif.helper.UserComment.load(comment) == PROVENANCE.parameters()


def test_sd_parsers_finds_prompts_and_settings(file: Path) -> None:
    found = ParserManager().parse(file)
    assert found is not None
    (sampler,) = found.samplers
    assert [prompt.value for prompt in sampler.prompts] == [PROMPT]
    assert [prompt.value for prompt in sampler.negative_prompts] == [NEGATIVE]
    assert sampler.name == "DPM++ 2M"
    assert sampler.parameters["scheduler"] == "Karras"
    assert sampler.parameters["seed"] == "123456789012"
    assert sampler.model is not None
    assert sampler.model.name == "fake"


def test_exiftool_finds_the_text_and_no_fault(file: Path) -> None:
    exiftool = need("libimage-exiftool-perl")
    command = [exiftool, "-json", "-warning", "-error", "-UserComment", "-Parameters", str(file)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    (told,) = json.loads(done.stdout)
    assert told.get("UserComment", told.get("Parameters")) == PROVENANCE.parameters()
    assert "Error" not in told
    assert told.get("Warning") in (None, "[minor] Unrecognized MakerNotes")  # only ours knows it


def test_a_reader_after_automatic1111_finds_everything(file: Path) -> None:
    found = read_as_automatic1111(file)
    assert (found["Prompt"], found["Negative prompt"]) == (PROMPT, NEGATIVE)
    assert (found["Size-1"], found["Size-2"]) == ("64", "64")
    names = ("Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Model", "Model hash")
    expected = ["3", "DPM++ 2M", "Karras", "7.1234565", "123456789012", "fake", "0123456789"]
    assert [found[name] for name in names] == expected


def read_as_automatic1111(file: Path) -> dict[str, str]:
    """What AUTOMATIC1111's PNG info tab takes out of a file, by the rules that it documents."""
    with Image.open(file) as image:
        text: Any = image.info.get("parameters")
        if text is None:
            exif = piexif.load(image.info["exif"])
            text = piexif.helper.UserComment.load(exif["Exif"][piexif.ExifIFD.UserComment])
    *lines, last = text.strip().split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith("Negative prompt:"))
    negative = "\n".join(
        [lines[start].removeprefix("Negative prompt:").strip(), *lines[start + 1 :]]
    )
    found = {"Prompt": "\n".join(lines[:start]), "Negative prompt": negative}
    for name, value in re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', last):
        size = re.match(r"^(\d+)x(\d+)$", value)
        if size:
            found |= {f"{name}-1": size[1], f"{name}-2": size[2]}
        else:
            found[name] = value
    return found


def test_our_own_import_finds_the_exact_settings(file: Path) -> None:
    recipe, unknown = read_file(file.read_bytes())
    assert unknown == []
    assert (recipe.prompt, recipe.negative_prompt) == (PROMPT, NEGATIVE)
    assert (recipe.guidance, recipe.seed) == (PARAMS.guidance_scale, 123456789012)
    assert (recipe.scheduler, recipe.model) == ("dpmpp_2m_karras", "fake")


@pytest.mark.parametrize("image_format", LOSSY)
def test_the_longest_texts_fit(image_format: ImageFormat) -> None:
    longest = fake_params("\x01" * 1999 + "🦊", negative_prompt="\x02" * 2000)
    data = encode(noise(longest, 0), image_format, Provenance(longest, 1, INFO, "1.0"))
    block = Image.open(io.BytesIO(data)).info["exif"]
    assert b"UNICODE\0" + longest.prompt.encode("utf-16-be") in block
    assert read_file(data)[0].prompt == "🦊"
