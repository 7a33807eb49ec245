"""Settings out of texts and files: read as they were meant, or refused in a sentence."""

from __future__ import annotations

import io
import json
import time
import tracemalloc
from contextlib import suppress

import pytest
from PIL import Image

from tests.ui.metadata.pictures import (
    ASCII,
    BYTE,
    DOUBLE,
    LONG,
    SHORT,
    UNDEFINED,
    exif,
    international,
    jpeg,
    packed,
    png,
    text,
    webp,
)
from ui.metadata.reader import parse, read_file
from ui.metadata.unreadable import UnreadableRecipe
from ui.recipe import Recipe

INFOTEXT = """red car, 猫
Negative prompt: rain
Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 512x768, Model: foo"""
LATIN = INFOTEXT.replace("猫", "é")
MEGABYTE = 2**20


def check(data: bytes, prompt: str = "red car, 猫") -> None:
    recipe, unknown = read_file(data)
    assert (recipe.prompt, recipe.negative_prompt, recipe.seed) == (prompt, "rain", 42)
    assert (recipe.model, recipe.width, recipe.height, unknown) == ("foo", 512, 768, [])


class TestPng:
    def test_every_kind_of_text_chunk(self) -> None:
        check(png(text("parameters", LATIN)), "red car, é")
        check(png(packed("parameters", LATIN.encode("latin-1"))), "red car, é")
        check(png(international("parameters", INFOTEXT)))
        check(png(international("parameters", INFOTEXT, compress=True)))

    def test_utf8_where_the_standard_says_latin1(self) -> None:
        check(png(text("parameters", INFOTEXT.encode())))

    def test_text_behind_the_pixels(self) -> None:
        check(png(behind=[international("parameters", INFOTEXT)]))

    def test_exif_in_a_png(self) -> None:
        check(png((b"eXIf", exif(b"UNICODE\0" + INFOTEXT.encode("utf-16-be")))))

    def test_large_neighbours_are_passed_over(self) -> None:
        workflow = packed("workflow", b"[" + b"1," * MEGABYTE + b"1]")
        check(png(workflow, (b"iCCP", b"x" * 2 * MEGABYTE), international("parameters", INFOTEXT)))

    def test_the_exact_settings_come_before_the_rounded_ones(self) -> None:
        exact = json.dumps({"prompt": "exact", "guidance_scale": 7.123})
        recipe, _ = read_file(png(text("parameters", LATIN), text("text2image", exact)))
        assert (recipe.prompt, recipe.guidance) == ("exact", 7.123)

    def test_broken_exact_settings_leave_the_others(self) -> None:
        check(png(text("text2image", "{"), international("parameters", INFOTEXT)))

    def test_an_animated_one(self) -> None:
        check(png((b"acTL", b"\0" * 8), international("parameters", INFOTEXT)))

    def test_a_bomb_costs_nothing(self) -> None:
        bomb = png(packed("parameters", b"a" * 32 * MEGABYTE))
        assert len(bomb) < MEGABYTE
        refuse_cheaply(bomb, "This picture carries no settings.")


class TestExif:
    @pytest.mark.parametrize("make", [jpeg, webp])
    @pytest.mark.parametrize("order", [">", "<"])
    @pytest.mark.parametrize(
        "comment",
        [
            b"UNICODE\0" + INFOTEXT.encode("utf-16-be"),
            b"UNICODE\0" + INFOTEXT.encode("utf-16-le"),
            b"UNICODE\0" + INFOTEXT.encode("utf-16"),  # with a byte order mark
            b"UNICODE\0\xfe\xff" + INFOTEXT.encode("utf-16-be"),
            b"UNICODE\0" + INFOTEXT.encode("utf-16-le") + b"\0\0",
            b"unicode\0" + INFOTEXT.encode("utf-16-be"),
            b"UNICODE\0" + INFOTEXT.encode(),
            b"ASCII\0\0\0" + INFOTEXT.encode(),
            b"\0" * 8 + INFOTEXT.encode(),
            INFOTEXT.encode(),
        ],
    )
    def test_every_encoding_that_occurs(self, comment: bytes, order: str, make: object) -> None:
        assert callable(make)
        check(make(exif(comment, order=order)))

    def test_japanese_industrial_standard(self) -> None:
        check(jpeg(exif(b"JIS\0\0\0\0\0" + INFOTEXT.encode("iso2022_jp"))))

    def test_letters_whose_second_byte_is_zero(self) -> None:
        prompt = "Ā" * 400
        meant = INFOTEXT.replace("red car, 猫", prompt)
        for encoding in ("utf-16-be", "utf-16-le"):
            check(jpeg(exif(b"UNICODE\0" + meant.encode(encoding))), prompt)

    @pytest.mark.parametrize("kind", [BYTE, ASCII, UNDEFINED])
    def test_every_type_of_the_tag(self, kind: int) -> None:
        check(jpeg(exif(b"ASCII\0\0\0" + INFOTEXT.encode(), kind)))

    @pytest.mark.parametrize(
        "block",
        [
            exif((300_000_000).to_bytes(4, "big"), LONG),
            exif(b"\xff\xff\xff\xff", LONG),
            exif(b"\0\1\0\2", SHORT),
            exif(b"\x40\x04" + b"\0" * 6, DOUBLE),
            exif(b"abcd", UNDEFINED, count=2**31),
            b"XXXXXXXX",
            b"",
            b"MM\0*\0\0\0\x08",
            b"MM\0*\0\0\0\x08\xff\xff" + b"\0" * 40,
        ],
    )
    @pytest.mark.parametrize("make", [jpeg, webp])
    @pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of broken blocks
    def test_broken_and_hostile_blocks(self, block: bytes, make: object) -> None:
        assert callable(make)
        refuse_cheaply(make(block), "This picture carries no settings.")

    def test_several_pictures_in_one_file(self) -> None:
        one = Image.new("RGB", (8, 8), "red")
        file = io.BytesIO()
        comment = exif(b"ASCII\0\0\0" + INFOTEXT.encode())
        one.save(file, "MPO", save_all=True, append_images=[one], exif=b"Exif\0\0" + comment)
        assert Image.open(file).format == "MPO"
        check(file.getvalue())

    def test_a_jpeg_comment(self) -> None:
        check(jpeg(comment=INFOTEXT.encode()))


def refuse_cheaply(data: bytes, sentence: str) -> None:
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(UnreadableRecipe) as refused:
        read_file(data)
    took_s, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(refused.value) == sentence
    assert took_s < 1
    assert peak < len(data) + 4 * MEGABYTE


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "This file is empty: settings are read from PNG, JPEG and WebP pictures."),
        (b"GIF89a", "This is a GIF: settings are read"),
        (b"\0\0\0\x20ftypavif", "This is an AVIF file: settings are read"),
        (b"<!DOCTYPE html>", "This is a web page: settings are read"),
        (b"no picture", "This is not a picture that can be read: settings are read"),
        (png(), "This picture carries no settings."),
        (png()[:20], "This picture carries no settings."),
        (png(text("parameters", "x")), "These are not settings: no line with “Steps: …” is within"),
        (jpeg(), "This picture carries no settings."),
        (b"\xff\xd8\xff\xe1\xff\xff", "This picture carries no settings."),
        (b"RIFF\xff\xff\xff\xffWEBPEXIF\xff\xff\xff\xff", "This picture carries no settings."),
    ],
)
def test_a_file_without_settings_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(UnreadableRecipe) as refused:
        read_file(data)
    assert str(refused.value).startswith(sentence)
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(
    "values",
    [
        text("Dream", '"a cat" -s 20'),
        text("use_stable_diffusion_model", "/models/x.ckpt"),
        text("XML:com.adobe.xmp", "<x>Draw Things</x>"),
        text("Software", "NovelAI"),
        text("prompt", '{"1": {"class_type": "FluxSampler", "inputs": {}}}'),
    ],
)
def test_what_cannot_be_read_names_its_program(values: tuple[bytes, bytes]) -> None:
    with pytest.raises(UnreadableRecipe, match=r"InvokeAI|Easy Diff|Draw Things|NovelAI|ComfyUI"):
        read_file(png(values))


@pytest.mark.parametrize(
    "words", ["", "a cat", "{", "{}", '{"odd": 1}', "[1]", "Steps: many", '{"seed": ' + "1" * 5000]
)
def test_what_holds_no_settings_is_refused_in_words(words: str) -> None:
    with pytest.raises(UnreadableRecipe) as refused:
        parse(words)
    assert str(refused.value).endswith(".")


def test_deep_json_is_refused_in_words() -> None:
    with pytest.raises(UnreadableRecipe, match="nested too deeply"):
        parse('{"a":' * 100_000)


def test_too_long_a_text_is_refused_in_words() -> None:
    with pytest.raises(UnreadableRecipe, match="longer than 1 MB"):
        parse("a" * (MEGABYTE + 1))


@pytest.mark.parametrize(
    ("before", "after"),
    [("{red|blue} car", "red|blue"), ("{{blue car}}, street", "{blue car}"), ("{", "{")],
)
def test_a_prompt_may_begin_with_a_brace(before: str, after: str) -> None:
    recipe, _ = parse(f"{before}\nNegative prompt: rain\nSteps: 9, Seed: 4")
    assert recipe == Recipe(before, "rain", steps=9, seed=4)
    assert after in recipe.prompt


def test_json_of_the_service_and_of_others_is_read() -> None:
    ours = {"prompt": "a", "num_inference_steps": 9, "guidance_scale": 2, "seed": 2**53 - 1}
    recipe, unknown = parse(json.dumps(ours | {"width": 64, "odd": 1, "device": "cpu"}))
    assert (recipe.steps, recipe.guidance, recipe.seed, recipe.width) == (9, 2.0, 2**53 - 1, 64)
    assert unknown == ["odd"]
    assert parse('{"prompt": "b", "cfg_scale": 4, "sampler_name": "Euler a"}')[0] == Recipe(
        prompt="b", guidance=4.0, scheduler="euler_ancestral"
    )
    camel = '{"prompt": "c", "negativePrompt": "d", "numInferenceSteps": 3, "guidanceScale": 1}'
    assert parse(camel)[0] == Recipe("c", "d", steps=3, guidance=1.0)


@pytest.mark.parametrize("number", ["1" + "0" * 400, "1e400", "-3", "true car", "9" * 20])
def test_numbers_beyond_all_bounds_are_told_and_dropped(number: str) -> None:
    recipe, unknown = parse(f"a\nSteps: 9, Seed: {number}, Size: {number}x64, Steps: {number}")
    assert (recipe.steps, recipe.width, recipe.seed) == (30, 0, None)
    assert set(unknown) == {"Seed", "Steps", "Size"}


def test_huge_numbers_in_json_are_told_and_dropped() -> None:
    recipe, unknown = parse(f'{{"prompt": "a", "num_inference_steps": 1{"0" * 400}}}')
    assert (recipe, unknown) == (Recipe("a"), ["num_inference_steps"])


def test_half_a_character_and_control_characters_do_not_come_through() -> None:
    recipe, _ = parse(r'{"prompt": "a \ud800\ud83d\ude00 \u0000\u001bb\n\tc"}')
    assert recipe.prompt == "a \ufffd😀 b\n\tc"
    recipe.prompt.encode()


@pytest.mark.parametrize(
    "hostile",
    [
        "\n" + "a" * MEGABYTE + ", Steps: 1",
        "\n" + "a " * (MEGABYTE // 2) + ", Steps: 1",
        "Steps: 1, " + "a: " * (MEGABYTE // 3),
        "Steps: 1, " + 'a: ["' * (MEGABYTE // 5),
        "Steps: 1, " + "a: [" * (MEGABYTE // 4),
        "Steps: 1, " + 'a: ["x", ' * (MEGABYTE // 9),
        "Steps: 1, " + 'a: "' + '\\"' * (MEGABYTE // 2),
        'Steps: 1, a: ["' + "a" * MEGABYTE,
        "Steps: 1, a: [" + "1," * (MEGABYTE // 2),
        "Steps:" * (MEGABYTE // 6),
        " Steps: x" * (MEGABYTE // 9) + "\nSteps: 1",
        "Steps: 1\n" * (MEGABYTE // 9),
        "Steps: 1,\n" * (MEGABYTE // 10),
        "Negative prompt:" * (MEGABYTE // 16) + " Steps: 1",
        "\n" * MEGABYTE + "Steps: 1",
        " " * MEGABYTE + "Steps: 1",
        "(" * MEGABYTE + "\nSteps: 1, " + ":," * 1000,
        "{" * MEGABYTE,
        '{"a":' * (MEGABYTE // 5),
        '{"a": "' + "\\" * MEGABYTE,
        "{" + '"a":1,' * (MEGABYTE // 6),
        '{"seed": ' + "1" * MEGABYTE + "}",
    ],
)
def test_a_megabyte_of_anything_is_read_in_linear_time(hostile: str) -> None:
    def seconds(words: str) -> float:
        started = time.thread_time()
        with suppress(UnreadableRecipe):
            parse(words)
        return time.thread_time() - started

    assert seconds(hostile[: MEGABYTE - 20]) < 3
