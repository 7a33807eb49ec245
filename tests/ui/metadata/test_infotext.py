"""Infotexts as programs and sites write them."""

from __future__ import annotations

import pytest

from ui.metadata.reader import parse
from ui.recipe import Recipe

SETTINGS = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 512x768"
RED_CAR = Recipe("red car", "rain", 512, 768, 20, 7.0, 42, "euler_ancestral")


def test_prompts_of_several_lines() -> None:
    recipe, unknown = parse(
        "a cat, sitting\non a mat\nNegative prompt: blurry,\ndark\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 123, "
        "Size: 512x768, Model: sd14, Clip skip: 2, Mask blur: 4, Version: v1"
    )
    assert recipe.prompt == "a cat, sitting\non a mat"
    assert recipe.negative_prompt == "blurry,\ndark"
    assert (recipe.width, recipe.height, recipe.steps, recipe.seed) == (512, 768, 20, 123)
    assert (recipe.scheduler, recipe.guidance, recipe.model) == ("dpmpp_2m_karras", 7.5, "sd14")
    assert recipe.clip_skip == 2
    assert unknown == ["Mask blur"]


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("Denoising strength: 0.6", Recipe(strength=0.6)),
        (
            "Denoising strength: 0.35, Hires upscale: 1.5, Hires upscaler: Latent",
            Recipe(upscale=1.5, upscale_strength=0.35),
        ),
        ("Hires upscale: 2", Recipe(upscale=2.0)),
    ],
)
def test_how_far_to_depart_from_a_picture_or_from_the_first_pass(
    added: str, expected: Recipe
) -> None:
    recipe, unknown = parse(f"red car\n{SETTINGS}, {added}")
    names = ("strength", "upscale", "upscale_strength")
    assert [getattr(recipe, name) for name in names] == [getattr(expected, name) for name in names]
    assert unknown == []


def test_windows_lines() -> None:
    assert parse(f"red car\r\nNegative prompt: rain\r\n{SETTINGS}\r\n")[0] == RED_CAR


def test_only_a_line_that_begins_with_the_words_starts_the_negative_prompt() -> None:
    prompt = 'sign that says "Negative prompt: none", photo'
    recipe, _ = parse(f"{prompt}\nNegative prompt: blurry\n{SETTINGS}")
    assert (recipe.prompt, recipe.negative_prompt) == (prompt, "blurry")


def test_a_prompt_that_speaks_of_steps() -> None:
    prompt = "instructions\nSteps: 3 to heaven, Seed: 1, end"
    recipe, _ = parse(f"{prompt}\nNegative prompt: rain\n{SETTINGS}")
    assert (recipe.prompt, recipe.steps, recipe.seed) == (prompt, 20, 42)


def test_lines_of_dynamic_prompts_behind_the_settings() -> None:
    below = "Template: {red|blue} car\nwith Steps: 5\nNegative Template: rain"
    assert parse(f"red car\nNegative prompt: rain\n{SETTINGS}\n{below}")[0] == RED_CAR


def test_all_on_one_line() -> None:
    assert parse(f"red car Negative prompt: rain {SETTINGS}")[0] == RED_CAR
    recipe, _ = parse(f"red car, Negative prompt: {SETTINGS}")
    assert (recipe.prompt, recipe.negative_prompt, recipe.seed) == ("red car,", "", 42)


def test_settings_that_a_viewer_wrapped() -> None:
    wrapped = SETTINGS.replace("CFG", "\n  CFG")
    assert parse(f"  red car\n  Negative prompt: rain\n  {wrapped}\n")[0] == RED_CAR


def test_settings_that_begin_with_another_name() -> None:
    assert parse("a\nSize: 64x72, Seed: 3, Steps: 5")[0] == Recipe("a", "", 64, 72, 5, 7.5, 3)


def test_lists_of_a_model_sharing_site_are_one_value() -> None:
    recipe, unknown = parse(
        "red car\nSteps: 28, Sampler: Euler a, CFG scale: 7, Seed: 33, Size: 832x1216, "
        'Civitai resources: [{"type":"checkpoint","modelName":"Pony V6: XL",'
        '"modelVersionName":"V6 (start, Seed: 77)"},{"type":"lora","weight":1}], '
        'Civitai metadata: {"remixOfId":34}'
    )
    assert (recipe.seed, recipe.steps, unknown) == (33, 28, [])


def test_a_broken_list_hides_nothing_behind_it() -> None:
    recipe, _ = parse('red car\nSteps: 28, Civitai resources: [{"a": 1, Seed: 33, CFG scale: 2')
    assert (recipe.seed, recipe.guidance) == (33, 2.0)


def test_quoted_values_are_one_value() -> None:
    recipe, unknown = parse(
        'a\nSteps: 5, Lora hashes: "x: 12, Seed: 9", Wildcard: "say \\"Seed: 8\\", loud", Seed: 7'
    )
    assert (recipe.seed, unknown) == (7, ["Wildcard"])


@pytest.mark.parametrize(
    ("settings", "expected", "unknown"),
    [
        (  # AUTOMATIC1111
            "Steps: 25, Sampler: DPM++ 2M SDE, Schedule type: Automatic, CFG scale: 7, "
            "Seed: 4158183252, Size: 512x768, Model hash: 3cd5ccf1ba, Model: sardonyx, "
            'TI hashes: "EasyNegative: c74b4e810b03", Version: v1.10.1',
            Recipe("a", "", 512, 768, 25, 7.0, 4158183252, "dpmpp_2m_sde", "sardonyx"),
            [],
        ),
        (  # Forge
            "Steps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, "
            "Distilled CFG Scale: 3.5, Seed: 1083098466, Size: 1360x792, Model hash: 58725940e3, "
            "Model: flux-hyp16-Q5_0, Version: f2.0.1v1.10.1-previous-530-g8bd7e056, Module 1: ae",
            Recipe("a", "", 1360, 792, 20, 1.0, 1083098466, "Euler simple", "flux-hyp16-Q5_0"),
            ["Distilled CFG Scale", "Module 1"],
        ),
        (  # SD.Next
            "Steps: 10, Size: 256x256, Sampler: Euler a, Scheduler: Default, Seed: 666, "
            "CFG scale: 15.7, CFG end: 0.3, App: SD.Next, Parser: a1111, Version: 8b73cb6, "
            "Pipeline: StableDiffusionPipeline, Operations: txt2img, Model: foo",
            Recipe("a", "", 256, 256, 10, 15.7, 666, "euler_ancestral", "foo"),
            ["CFG end"],
        ),
        (  # ComfyUI's nodes that write infotext
            "Steps: 24, Sampler: dpmpp_2m, Schedule type: karras, CFG scale: 6.0, "
            "Seed: 639466906728691, Size: 1216x832, Model: j4n, Version: ComfyUI",
            Recipe("a", "", 1216, 832, 24, 6.0, 639466906728691, "dpmpp_2m_karras", "j4n"),
            [],
        ),
        (  # Civitai
            "Steps: 23, Sampler: Undefined, CFG scale: 3.5, Seed: 1760020955, Size: 832x1216, "
            "Clip skip: 2, Created Date: 2025-11-28T09:18:43.5269343Z, Civitai metadata: {}",
            Recipe("a", "", 832, 1216, 23, 3.5, 1760020955, clip_skip=2),
            [],
        ),
        ("Steps:5, Seed: 7", Recipe("a", steps=5, seed=7), []),
        ("Steps: 5, Seed: -1", Recipe("a", steps=5), []),
    ],
)
def test_as_programs_write_it(settings: str, expected: Recipe, unknown: list[str]) -> None:
    assert parse(f"a\n{settings}") == (expected, unknown)
