"""Single files in the original layout: weight for weight, or one clear sentence."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from backend.config import Settings
from backend.errors import ModelFailed
from backend.model.checkpoint.components import Reading
from backend.model.checkpoint.folder import read_folder
from backend.model.checkpoint.single_file import read_file
from backend.model.checkpoint.source import SD1, Kind, resolve_source
from tests.support.original_layout import to_original
from tests.support.tiny_sd import load_tiny

READING = Reading(torch.device("cpu"), torch.float32)


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to break."""
    return Path(shutil.copytree(tiny_model, tmp_path / "tiny"))


@pytest.fixture
def single_file(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_file(to_original(read_folder(folder, READING)), path)
    return path


def test_a_single_file_holds_the_same_weights(folder: Path, single_file: Path) -> None:
    there = read_folder(folder, READING).networks
    back = read_file(single_file, READING, configs=folder).networks
    for part in ("unet", "vae", "text_encoder"):
        expected, found = getattr(there, part).state_dict(), getattr(back, part).state_dict()
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected), part


def test_a_pickled_single_file_needs_permission(folder: Path, single_file: Path) -> None:
    path = single_file.with_suffix(".ckpt")
    torch.save({"state_dict": load_file(single_file), "epoch": 3}, path)
    with pytest.raises(ModelFailed, match="ALLOW_PICKLE=1"):
        resolve_source(Settings(model=str(path)))
    with pytest.raises(ModelFailed, match="ALLOW_PICKLE"):
        read_file(path, READING, configs=folder)
    allowed = READING._replace(allow_pickle=True)
    assert read_file(path, allowed, configs=folder).architecture.latent_channels == 4
    assert resolve_source(Settings(model=str(path), allow_pickle=True)).kind is Kind.FILE


def test_a_truncated_single_file_is_told(single_file: Path) -> None:
    single_file.write_bytes(single_file.read_bytes()[:1000])
    with pytest.raises(ModelFailed, match="tiny can't be loaded") as failed:
        load_tiny(single_file)
    assert "\n" not in str(failed.value)


def test_a_broken_pickle_is_told(tmp_path: Path) -> None:
    path = tmp_path / "old.ckpt"
    path.write_bytes(pickle.dumps({"state_dict": {}})[:5])
    with pytest.raises(ModelFailed, match="old can't be loaded"):
        load_tiny(path, allow_pickle=True)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["conditioner.embedders.0.weight"], "another family"),
        (["cond_stage_model.model.ln_final.weight"], "another family"),
        (["lora_unet_down_blocks_0.lora_up.weight"], "no UNet, no autoencoder, no text encoder"),
        (["conv_in.weight"], "no UNet"),
    ],
)
def test_files_of_another_layout_are_refused(tmp_path: Path, names: list[str], match: str) -> None:
    path = tmp_path / "other.safetensors"
    save_file({name: torch.zeros(2) for name in names}, path)
    with pytest.raises(ModelFailed, match=match):
        load_tiny(path)


def test_a_single_file_that_lacks_weights_is_refused(folder: Path, single_file: Path) -> None:
    weights = load_file(single_file)
    del weights["model.diffusion_model.out.2.weight"]
    save_file(weights, single_file)
    with pytest.raises(ModelFailed, match="lacks weights of the UNet"):
        read_file(single_file, READING, configs=folder)


def test_the_tokenizer_that_ships_with_us_is_clips() -> None:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(SD1 / "tokenizer", local_files_only=True)
    assert len(tokenizer) == 49408
    assert tokenizer.model_max_length == 77
    # Published with transformers' documentation and in OpenAI's own notebooks.
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    padded = tokenizer([""], padding="max_length", max_length=77).input_ids[0]
    assert padded == [49406] + [49407] * 76
