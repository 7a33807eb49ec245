"""Fuzz targets: each takes any bytes, and raises only for bugs in the product."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from backend.errors import ModelFailed
from backend.model.checkpoint.identify import other_kind
from backend.model.checkpoint.naming import to_original_names
from backend.model.checkpoint.weights_file import read_shapes
from tests.ui.metadata.pictures import exif, international, jpeg, packed, png, text, webp
from ui.components import html
from ui.metadata.reader import parse, read_file
from ui.metadata.unreadable import UnreadableRecipe
from ui.recipe import Abilities, Recipe, fit
from ui.recipe_link import from_link, to_link

INFOTEXT = """{red|blue} car, 猫
Negative prompt: rain
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 42, Size: 512x768, \
Lora hashes: "a: 1, b: 2", Civitai resources: [{"type": "x", "modelName": "y, Seed: 3"}]
Template: car"""
JSON = {
    "prompt": "a cat", "negative_prompt": "rain", "width": 512, "height": 768, "seed": 42,
    "num_inference_steps": 20, "guidance_scale": 7.5, "scheduler": "ddim", "model": "m",
}  # fmt: skip
GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 2, "positive": ["6", 0]}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "red car"}},
}
NAMES = (
    "model.diffusion_model.input_blocks.0.0.weight",
    "model_ema.diffusion_modelinput_blocks10in_layers0weight",
    "first_stage_model.decoder.mid.attn_1.to_q.weight",
    "cond_stage_model.transformer.embeddings.position_embedding.weight",
)
ABILITIES = Abilities(models=("m",), schedulers=("ddim", "euler"))


def read_any_file(data: bytes) -> None:
    """A dropped file: settings, or a sentence."""
    _read(lambda: read_file(data))


def read_any_text(data: bytes) -> None:
    """A pasted text: settings, or a sentence."""
    _read(lambda: parse(data.decode("utf-8", errors="replace")))


def read_any_weights(data: bytes) -> None:
    """A file that is to be a checkpoint: names and shapes, or a sentence."""
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(data)
        file.flush()
        try:
            shapes = read_shapes(Path(file.name))
        except ModelFailed as error:
            sentence: str | None = str(error)
        else:
            sentence = other_kind(shapes)
            to_original_names(shapes)
    assert sentence is None or sentence.endswith("."), sentence


def _read(read: Callable[[], tuple[Recipe, list[str]]]) -> None:
    try:
        recipe, unknown = read()
    except UnreadableRecipe as error:
        sentence = str(error)
    else:
        _check_read(recipe, unknown)
        return
    assert sentence.endswith("."), sentence
    html.plain(sentence).encode()


def _check_read(recipe: Recipe, unknown: list[str]) -> None:
    _check(recipe)
    assert all(isinstance(name, str) for name in unknown)
    fitted, _notes = fit(recipe, ABILITIES)
    _check(fitted)
    if recipe.seed is None or recipe.seed < 2**53:
        assert from_link(to_link(fitted)) is not None


def _check(recipe: Recipe) -> None:
    """What databases, pages and the service take: texts that are text, numbers within bounds."""
    for name, value in asdict(recipe).items():
        if isinstance(value, str):
            value.encode()
            assert "\0" not in value, name
        elif isinstance(value, int):
            assert 0 <= value < 2**64, name
        else:
            assert value is None or 0 <= value <= 1_000_000, name
    assert recipe.steps < 2**31
    assert len(recipe.scheduler) <= 40
    assert len(recipe.model) <= 200


TARGETS: dict[str, Callable[[bytes], None]] = {
    "file": read_any_file,
    "text": read_any_text,
    "weights": read_any_weights,
}


def seeds(target: str) -> Iterator[bytes]:
    """Inputs to begin with."""
    ours, graph = json.dumps(JSON), json.dumps(GRAPH)
    if target == "text":
        yield from (one.encode() for one in (INFOTEXT, ours, graph, f"car {INFOTEXT[-200:]}"))
        return
    if target == "weights":
        yield from map(_safetensors, NAMES)
        return
    comments = (
        b"UNICODE\0" + INFOTEXT.encode("utf-16-be"),
        b"UNICODE\0" + INFOTEXT.encode("utf-16-le"),
        b"ASCII\0\0\0" + INFOTEXT.encode(),
        ours.encode(),
    )
    yield png(text("text2image", ours), international("parameters", INFOTEXT))
    yield png(packed("parameters", INFOTEXT.encode()), behind=[text("prompt", graph)])
    yield png(international("parameters", INFOTEXT, compress=True))
    yield png((b"eXIf", exif(comments[0])))
    for comment in comments:
        yield jpeg(exif(comment), comment=ours.encode())
        yield jpeg(exif(comment, order="<"))
        yield webp(exif(comment))


def _safetensors(name: str) -> bytes:
    table = {name: {"dtype": "F32", "shape": [1, 9, 1, 1], "data_offsets": [0, 36]}}
    header = json.dumps(table | {"__metadata__": {"format": "pt"}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(36)
