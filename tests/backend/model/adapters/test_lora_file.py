"""Files in the LoRA folder: taken for what they are, and refused in a sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from backend.errors import ModelFailed
from backend.model.adapters.embedding_file import read_embedding
from backend.model.adapters.folder import Folder
from backend.model.adapters.lora_file import Change, read_changes, trigger_words
from backend.model.adapters.merge import MAX_HEADER_BYTES
from backend.model.checkpoint.weights_file import Shapes, read_table

Shape = tuple[int, ...]
Q = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
K = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def lora(module: str, width: int = 320, **more: Shape) -> Shapes:
    return {
        f"{module}.lora_down.weight": (4, width),
        f"{module}.lora_up.weight": (320, 4),
        **{name.replace("__", "."): shape for name, shape in more.items()},
    }


def refusal(shapes: Shapes) -> str:
    with pytest.raises(ModelFailed) as caught:
        read_changes(shapes, 768)
    return str(caught.value)


@pytest.mark.parametrize(
    ("down", "up", "module"),
    [
        (f"{Q}.lora_down.weight", f"{Q}.lora_up.weight", Q),
        ("unet.a.to_q.lora_A.weight", "unet.a.to_q.lora_B.weight", "unet.a.to_q"),
        ("unet.a.to_q.lora.down.weight", "unet.a.to_q.lora.up.weight", "unet.a.to_q"),
        (
            "unet.a.attn1.processor.to_out_lora.down.weight",
            "unet.a.attn1.processor.to_out_lora.up.weight",
            "unet.a.attn1.to_out",
        ),
    ],
)
def test_every_naming(down: str, up: str, module: str) -> None:
    assert read_changes({down: (4, 320), up: (320, 4)}, 768) == {module: Change(down, up)}


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        ({f"{Q}.hada_w1_a": (320, 4)}, "It is a LoHa, which isn't supported"),
        ({f"{Q}.lokr_w1": (4, 4)}, "It is a LoKr, which isn't supported"),
        ({f"{Q}.dora_scale": (1,), **lora(Q)}, "It is a DoRA"),
        (lora("lora_te2_text_model_q"), "It is a LoRA for Stable Diffusion XL"),
        (lora(K, 2048), "It is a LoRA for Stable Diffusion XL; Stable Diffusion 1.x has"),
        (lora(K, 1024), "It is a LoRA for Stable Diffusion 2.x"),
        (lora(K, 33), "It is a LoRA for a model with text embeddings 33 wide"),
        (lora("lora_unet_double_blocks_0"), "It is a LoRA for Flux"),
        ({f"{Q}.lora_down.weight": (4, 320)}, "Half of it is missing"),
        ({**lora(Q), f"{Q}.lora_up.weight": (320, 5)}, "don't fit together"),
        ({**lora(Q), f"{Q}.lora_down.weight": (4,)}, "don't fit together"),
        ({**lora(Q), f"{Q}.alpha": (4,)}, "is no number: [4]"),
        ({}, "It is no LoRA"),
        ({"encoder.conv_in.weight": (1, 1)}, "It is no LoRA. It is an autoencoder (VAE) alone"),
        ({f"{n}": (1,) for n in range(20_001)}, "more than any LoRA"),
    ],
)
def test_what_is_no_lora_for_this_model_is_told(shapes: Shapes, sentence: str) -> None:
    assert sentence in refusal(shapes)


def test_trigger_words() -> None:
    frequency = {"10_ink": {"ink": 10, "a cat": 7}, "5_more": {"a cat": 9}}
    metadata = {
        "modelspec.trigger_phrase": "inkstyle,  in ink",
        "ss_tag_frequency": json.dumps(frequency),
    }
    assert trigger_words(metadata) == ("inkstyle", "in ink", "a cat", "ink")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", "7", '{"a": 5}', '{"a": {"b": "c"}}', "[" * 100_000, '{"a":{"b":1e999}}'],
)
def test_broken_metadata_has_no_words(text: str) -> None:
    assert trigger_words({"ss_tag_frequency": text}) == ()


def test_words_are_short_and_few() -> None:
    words = {f"word {n}": n for n in range(50)} | {"x" * 200: 99, "a\nb\x07": 98}
    found = trigger_words({"ss_tag_frequency": json.dumps({"a": words})})
    assert found[0] == "word 49"
    assert len(found) <= 8


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "It is empty"),
        (b"<html>", "It is a web page"),
        (b"PK\x03\x04" + b"x" * 60, "It is a pickle"),
        (b"\xff" * 64, "It is no safetensors file"),
        ((20 * 2**20).to_bytes(8, "little") + b"{}", "It is no safetensors file"),
        ((40).to_bytes(8, "little") + b"{}", "cut short"),
        ((2).to_bytes(8, "little") + b"[]", "its table can't be read"),
        ((100_000).to_bytes(8, "little") + b"[" * 100_000, "its table can't be read"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFailed, match=sentence):
        read_table(path, MAX_HEADER_BYTES)


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    for path in ("secret", "inside/good", "inside/a:b", "inside/<x>", "inside/sub/deep"):
        save_file({"a": torch.zeros(1)}, tmp_path / f"{path}.safetensors")
    (inside / "text.txt").write_text("x", "utf-8")
    listing = Folder(inside, lambda path: path.stem).listing
    assert list(listing.entries) == ["good"]
    for name in ("../secret", str(tmp_path / "secret"), "sub/deep", "a:b"):
        assert name not in listing.entries


def test_a_bad_file_is_told_by_name_and_hides_no_other(tmp_path: Path) -> None:
    def read(path: Path) -> Mapping[str, Change]:
        return read_changes(read_table(path, MAX_HEADER_BYTES).shapes, 768)

    (tmp_path / "bad.safetensors").write_bytes(b"<html>")
    save_file({n: torch.zeros(s) for n, s in lora(Q).items()}, tmp_path / "good.safetensors")
    os.mkfifo(tmp_path / "pipe.safetensors")
    listing = Folder(tmp_path, read).listing
    assert list(listing.entries) == ["good"]
    assert listing.refusals["bad"].startswith("bad: It is a web page")


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"emb_params": torch.zeros(2, 1024)}, "1024 wide, this model's 768"),
        ({"clip_l": torch.zeros(2, 768), "clip_g": torch.zeros(2, 1280)}, "Stable Diffusion XL"),
        ({"a": torch.zeros(768), "b": torch.zeros(768)}, "It holds 2 tensors"),
        ({"a": torch.zeros(2, 2, 768)}, "It is no embedding"),
        ({"emb_params": torch.zeros(76, 768)}, "It takes 76 tokens"),
        ({"emb_params": torch.full((1, 768), float("nan"))}, "not all numbers"),
    ],
)
def test_what_is_no_embedding_for_this_model_is_told(
    tmp_path: Path, tensors: dict[str, torch.Tensor], sentence: str
) -> None:
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(ModelFailed, match=sentence):
        read_embedding(tmp_path / "x.safetensors", 768, 75)
