"""JSON as other programs write it into pictures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.ui.metadata.pictures import exif, jpeg, png, text
from ui.metadata.reader import parse, read_file
from ui.metadata.unreadable import UnreadableRecipe
from ui.recipe import Recipe

EXPECTED = Recipe("red car", "rain", 512, 768, 20, 7.0, 42, "euler_ancestral", "foo")


def graph(**changes: Any) -> dict[str, Any]:
    """ComfyUI's first example, with a LoRA between checkpoint and sampler."""
    sampler = {
        "seed": 42, "steps": 20, "cfg": 7.0, "sampler_name": "euler_ancestral",
        "scheduler": "normal", "denoise": 1.0, "model": ["10", 0], "positive": ["6", 0],
        "negative": ["7", 0], "latent_image": ["5", 0],
    }  # fmt: skip
    return {
        "3": {"class_type": "KSampler", "inputs": sampler | changes},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "foo.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "red car", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "rain", "clip": ["4", 1]}},
        "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "x", "model": ["4", 0]}},
    }


@pytest.mark.parametrize(
    ("place", "values"),
    [
        (
            "invokeai_metadata",
            {
                "generation_mode": "txt2img", "positive_prompt": "red car",
                "negative_prompt": "rain", "width": 512, "height": 768, "seed": 42,
                "cfg_scale": 7.0, "steps": 20, "scheduler": "euler_a", "app_version": "5.0",
                "model": {"key": "1", "name": "foo", "base": "sd-1", "type": "main"},
            },
        ),
        (
            "sd-metadata",
            {
                "model": "stable diffusion", "app_version": "2.3.0",
                "image": {
                    "prompt": [{"prompt": "red car", "weight": 1.0}], "negative_prompt": "rain",
                    "steps": 20, "cfg_scale": 7.0, "sampler": "k_euler_a", "seed": 42,
                    "width": 512, "height": 768, "model": "foo",
                },
            },
        ),
        (
            "parameters",
            {
                "sui_image_params": {
                    "prompt": "red car", "negativeprompt": "rain", "model": "foo", "seed": 42,
                    "steps": 20, "cfgscale": 7.0, "width": 512, "height": 768,
                    "sampler": "euler_ancestral", "scheduler": "normal",
                }
            },
        ),
        (
            "Comment",
            {
                "prompt": "red car", "negative_prompt": "rain", "steps": 20, "seed": "42",
                "guidance_scale": 7.0, "base_model": "foo", "width": 512, "height": 768,
                "sampler": "euler_ancestral",
            },
        ),
        ("prompt", graph()),
        ("prompt", graph(model=["4", 0], scheduler="karras", sampler_name="euler_ancestral")),
    ],
)  # fmt: skip
def test_what_programs_write_is_read(place: str, values: dict[str, Any]) -> None:
    recipe, _ = read_file(png(text(place, json.dumps(values))))
    karras = values.get("3", {}).get("inputs", {}).get("scheduler") == "karras"
    scheduler = "euler_ancestral karras" if karras else "euler_ancestral"
    assert recipe == Recipe(**EXPECTED.to_dict() | {"scheduler": scheduler})


@pytest.mark.parametrize(
    ("values", "unknown"),
    [
        # The comment in its pictures.
        (
            {
                "c": "red car", "uc": "rain", "size": "512x768", "steps": 20, "scale": 7,
                "seed": 42, "sampler": "Euler A", "model": "foo", "strength": 1,
                "v2": {"width": 512, "height": 768, "tiledDecoding": False},
            },
            ["v2"],
        ),
        # A request to its HTTP API.
        (
            {
                "prompt": "red car", "negative_prompt": "rain", "width": 512, "height": 768,
                "steps": 20, "guidance_scale": 7.0, "seed": 42, "sampler": "Euler A",
                "model": "foo", "strength": 1.0, "loras": [], "seed_mode": "Scale Alike",
            },
            ["seed_mode"],
        ),
    ],
)  # fmt: skip
def test_the_json_of_draw_things_is_read(values: dict[str, Any], unknown: list[str]) -> None:
    assert parse(json.dumps(values)) == (EXPECTED, unknown)


def test_a_graph_beside_an_infotext_is_not_asked() -> None:
    data = png(text("prompt", json.dumps(graph())), text("parameters", "a cat\nSteps: 3, Seed: 1"))
    assert read_file(data)[0].prompt == "a cat"


def test_the_json_of_a_sharing_site_in_exif_is_read() -> None:
    inner = json.dumps({"prompt": "red car", "negativePrompt": "rain", "cfgScale": 7, "steps": 20})
    outer = json.dumps({"3": {"class_type": "x"}, "extraMetadata": inner})
    recipe, _ = read_file(jpeg(exif(b"UNICODE\0" + outer.encode("utf-16-be"))))
    assert (recipe.prompt, recipe.negative_prompt, recipe.steps) == ("red car", "rain", 20)


@pytest.mark.parametrize(
    "changes",
    [{"positive": "red"}, {"positive": ["3", 0]}, {"positive": ["99", 0]}, {"positive": []}],
)
def test_a_graph_without_a_plain_prompt_names_the_program(changes: dict[str, Any]) -> None:
    with pytest.raises(UnreadableRecipe, match="ComfyUI"):
        parse(json.dumps(graph(**changes)))


def test_a_graph_with_two_samplers_names_the_program() -> None:
    with pytest.raises(UnreadableRecipe, match="ComfyUI"):
        parse(json.dumps(graph() | {"11": graph()["3"]}))


def test_a_partial_denoising_is_told() -> None:
    assert parse(json.dumps(graph(denoise=0.5)))[1] == ["denoise"]


@pytest.mark.parametrize("value", [None, [], {}, [[]], {"a": {}}, True, 1.5, "x"])
def test_values_of_any_kind_are_survived(value: Any) -> None:
    names = ["prompt", "seed", "steps", "model", "size", "scheduler", "image", "extraMetadata"]
    for name in names:
        try:
            recipe, _ = parse(json.dumps({"prompt": "a", name: value}))
        except UnreadableRecipe:
            continue
        assert isinstance(recipe.prompt, str)
        assert isinstance(recipe.steps, int)
