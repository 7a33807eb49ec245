import io
import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ui.recipe import Recipe
from ui.recipe_text import UnreadableRecipe, from_link, parse, read_file, to_link

INFOTEXT = """a cat, sitting
on a mat
Negative prompt: blurry, dark
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 123, \
Size: 512x768, Model: sd14, Clip skip: 2, Version: v1"""


def test_a_link_brings_everything_back() -> None:
    recipe = Recipe("ein “Hund” & 犬", "x=y", 640, 448, 20, 3.5, 42, "ddim", "m", 2)
    assert from_link(to_link(recipe)) == recipe


def test_a_link_without_settings_is_none() -> None:
    assert from_link({"img": "abc"}) is None


@pytest.mark.parametrize("value", ["abc", "", "nan", "inf", "1e999"])
def test_rubbish_in_a_link_keeps_the_default(value: str) -> None:
    recipe = from_link({"prompt": "a cat", "steps": value, "cfg": value, "seed": value})
    assert recipe == Recipe(prompt="a cat")


def test_infotext_is_read_with_its_several_lines() -> None:
    recipe, unknown = parse(INFOTEXT)
    assert recipe.prompt == "a cat, sitting\non a mat"
    assert recipe.negative_prompt == "blurry, dark"
    assert (recipe.width, recipe.height, recipe.steps, recipe.seed) == (512, 768, 20, 123)
    assert (recipe.scheduler, recipe.guidance, recipe.model) == ("dpmpp_2m_karras", 7.5, "sd14")
    assert unknown == ["Clip skip"]


def test_json_of_the_service_and_of_others_is_read() -> None:
    ours = {"prompt": "a", "num_inference_steps": 9, "guidance_scale": 2, "seed": 2**53 - 1}
    recipe, unknown = parse(json.dumps(ours | {"width": 64, "odd": 1, "device": "cpu"}))
    assert (recipe.steps, recipe.guidance, recipe.seed, recipe.width) == (9, 2.0, 2**53 - 1, 64)
    assert unknown == ["odd"]
    assert parse('{"prompt": "b", "cfg_scale": 4, "sampler_name": "Euler a"}')[0] == Recipe(
        prompt="b", guidance=4.0, scheduler="euler_ancestral"
    )


@pytest.mark.parametrize("text", ["", "a cat", "{", "{}", '{"odd": 1}', "[1]", "Steps: many"])
def test_what_holds_no_settings_is_refused_in_words(text: str) -> None:
    with pytest.raises(UnreadableRecipe) as refused:
        parse(text)
    assert str(refused.value).endswith(".")


def picture_with(**texts: str) -> bytes:
    info, file = PngInfo(), io.BytesIO()
    for name, value in texts.items():
        info.add_text(name, value)
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def test_a_picture_s_exact_settings_come_before_the_rounded_ones() -> None:
    exact = json.dumps({"prompt": "exact", "guidance_scale": 7.123})
    recipe, _unknown = read_file(picture_with(parameters=INFOTEXT, text2image=exact))
    assert (recipe.prompt, recipe.guidance) == ("exact", 7.123)


@pytest.mark.parametrize("prompt", ["a cat", "猫が座る"])
@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le"])
@pytest.mark.parametrize("name", ["JPEG", "WEBP"])
def test_exif_comments_are_read_in_either_byte_order(prompt: str, encoding: str, name: str) -> None:
    exif = Image.Exif()
    text = f"{prompt}\nSteps: 5, Seed: 3, Size: 8x8"
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode(encoding)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, name, exif=exif)
    recipe, _unknown = read_file(file.getvalue())
    assert (recipe.prompt, recipe.steps, recipe.seed) == (prompt, 5, 3)


@pytest.mark.parametrize("data", [b"", b"no picture", picture_with(), picture_with(parameters="x")])
def test_a_file_without_settings_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableRecipe):
        read_file(data)
