"""Single files in the original layout load correctly or are refused with a clear sentence."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from backend.config import Settings
from backend.errors import ModelFailed
from backend.model.checkpoint.components import LoadOptions
from backend.model.checkpoint.folder import read_folder
from backend.model.checkpoint.single_file import read_file
from backend.model.checkpoint.source import SD1, Kind, resolve_source
from backend.model.noise_schedulers import NoiseSchedulers
from tests.support.original_layout import NAMINGS, UNET, Weights, to_original
from tests.support.tiny_sd import load_tiny

READING = LoadOptions(torch.device("cpu"), torch.float32)


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to break."""
    return Path(shutil.copytree(tiny_model, tmp_path / "tiny"))


@pytest.fixture
def single_file(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_file(to_original(read_folder(folder, READING)), path)
    return path


@pytest.fixture
def tiny(single_file: Path) -> Weights:
    """The tiny model's weights under their original names."""
    return load_file(single_file)


def written(weights: Weights, folder: Path) -> Path:
    path = folder / "written.safetensors"
    save_file(weights, path)
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


def test_a_broken_pickle_is_told(tmp_path: Path) -> None:
    path = tmp_path / "old.ckpt"
    path.write_bytes(pickle.dumps({"state_dict": {}})[:5])
    with pytest.raises(ModelFailed, match="old can't be loaded"):
        load_tiny(path, allow_pickle=True)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["conditioner.embedders.0.weight"], "It is a Stable Diffusion XL model: a file must"),
        (["cond_stage_model.model.ln_final.weight"], "It holds no UNet"),
        (["model.diffusion_model.joint_blocks.0.x", "text_encoders.t5"], "Stable Diffusion 3"),
        (["model.diffusion_model.double_blocks.0.x", "text_encoders.t5"], "It is a Flux model"),
        (["lora_unet_down_blocks_0.lora_up.weight"], "It is a LoRA adapter"),
        (["unet.down_blocks.0.attn.to_q.lora_A.weight"], "It is a LoRA adapter"),
        (["control_model.input_blocks.0.0.weight"], "It is a ControlNet"),
        (["controlnet_cond_embedding.conv_in.weight"], "It is a ControlNet"),
        (["emb_params"], "It is an embedding"),
        (["decoder.conv_in.weight", "encoder.conv_in.weight"], r"an autoencoder \(VAE\) alone"),
        (["first_stage_model.decoder.conv_in.weight"], r"an autoencoder \(VAE\) alone"),
        (["text_model.embeddings.x"], "It is a text encoder alone"),
        (["down_blocks.0.x", "conv_in.weight"], "the UNet of a folder in diffusers layout"),
        (["model.diffusion_model.input_blocks.0.0.weight"], "no autoencoder, no text encoder"),
        (["odd"], "It holds no UNet"),
        ([], "It holds no UNet, no autoencoder, no text encoder"),
    ],
)
def test_files_of_another_kind_say_what_they_are(
    tmp_path: Path, names: list[str], match: str
) -> None:
    path = tmp_path / "other.safetensors"
    save_file({name: torch.zeros(2) for name in names}, path)
    with pytest.raises(ModelFailed, match=match) as failed:
        load_tiny(path)
    assert str(failed.value).startswith("other can't be loaded. It ")


@pytest.mark.parametrize(
    ("channels", "match"),
    [(7, "an upscaling model: its UNet has 7 input channels"), (8, "pix2pix"), (5, "depth")],
)
def test_models_that_look_at_a_picture_say_so(
    tiny: Weights, tmp_path: Path, channels: int, match: str
) -> None:
    first = f"{UNET}input_blocks.0.0.weight"
    tiny[first] = torch.zeros(tiny[first].shape[0], channels, 3, 3)
    with pytest.raises(ModelFailed, match=match):
        load_tiny(written(tiny, tmp_path))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "It is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "It is a web page"),
        (b"\n\n<html>", "It is a web page"),
        (b"GGUF\3\0\0\0", "It is a GGUF file"),
        (b"PK\x03\x04" + b"x" * 100, "It is a pickle under the name"),
        (pickle.dumps({"a": 1}), "It is a pickle under the name"),
        (b"\xff" * 100, "It is no safetensors file"),
        (b"\x10\0\0\0\0\0\0\0" + b"x" * 100, "its table can't be read"),
        (b"\x02\0\0\0\0\0\0\0[]", "its table can't be read"),
        (b"\x0f\0\0\0\0\0\0\0" + b'{"a": {"b": 1}}', "its table can't be read"),
        (b"\x10\0\0\0\0\0\0\0{}", "10 of 24 bytes are there"),
    ],
)
@pytest.mark.parametrize("name", ["x.safetensors", "X.SAFETENSORS"])
def test_what_is_no_file_of_weights_says_what_it_is(
    tmp_path: Path, name: str, content: bytes, match: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelFailed, match=match) as failed:
        load_tiny(path)
    assert "\n" not in str(failed.value)


def test_a_pointer_under_the_name_of_a_pickle_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.CKPT"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ModelFailed, match="a Git LFS pointer"):
        load_tiny(path, allow_pickle=True)


def test_a_download_that_was_cut_short_is_told(single_file: Path) -> None:
    whole = single_file.read_bytes()
    for length in (4, 1000, len(whole) - 1):
        single_file.write_bytes(whole[:length])
        with pytest.raises(ModelFailed, match=r"Download it anew|download it anew"):
            load_tiny(single_file)


@pytest.mark.parametrize("naming", NAMINGS)
def test_every_naming_holds_the_same_weights(
    naming: str, tiny: Weights, folder: Path, tmp_path: Path
) -> None:
    there = read_folder(folder, READING).networks
    path = written(NAMINGS[naming](tiny), tmp_path)
    back = read_file(path, READING, configs=folder).networks
    for part in ("unet", "vae", "text_encoder"):
        expected, found = getattr(there, part).state_dict(), getattr(back, part).state_dict()
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected), part


def test_plain_weights_come_before_averaged_ones(
    tiny: Weights, folder: Path, tmp_path: Path
) -> None:
    averaged = {name: torch.zeros_like(one) for name, one in tiny.items() if name.startswith(UNET)}
    both = tiny | {n: w for n, w in NAMINGS["averaged"](averaged).items() if n not in averaged}
    back = read_file(written(both, tmp_path), READING, configs=folder).networks
    assert back.unet.conv_in.weight.abs().sum() > 0


def test_marks_say_what_the_unet_predicts(tiny: Weights, folder: Path, tmp_path: Path) -> None:
    plain = read_file(written(tiny, tmp_path), READING, configs=folder).architecture
    assert plain.scheduler_config["prediction_type"] == "epsilon"
    marked = tiny | {"v_pred": torch.zeros(0)}
    found = read_file(written(marked, tmp_path), READING, configs=folder).architecture
    assert found.scheduler_config["prediction_type"] == "v_prediction"
    assert found.scheduler_class == "PNDMScheduler"
    marked["ztsnr"] = torch.zeros(0)
    found = read_file(written(marked, tmp_path), READING, configs=folder).architecture
    assert found.scheduler_config["rescale_betas_zero_snr"] is True
    schedulers = NoiseSchedulers(found.scheduler_class, found.scheduler_config)
    assert schedulers.default == "ddim"
    assert schedulers.prediction_type == "v_prediction"
    assert schedulers.alphas_cumprod[-1] < 1e-6


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.diffusion_model.out.2.weight", "UNet"),
        ("first_stage_model.decoder.conv_out.bias", "autoencoder"),
        ("cond_stage_model.transformer.text_model.final_layer_norm.bias", "text encoder"),
    ],
)
def test_a_single_file_that_lacks_weights_is_refused(
    tiny: Weights, folder: Path, tmp_path: Path, name: str, part: str
) -> None:
    del tiny[name]
    with pytest.raises(ModelFailed, match=f"lacks weights of the {part}"):
        read_file(written(tiny, tmp_path), READING, configs=folder)


def test_weights_of_other_sizes_are_refused(tiny: Weights, folder: Path, tmp_path: Path) -> None:
    tiny[f"{UNET}out.2.weight"] = torch.zeros(4, 31, 3, 3)
    with pytest.raises(ModelFailed, match="Its UNet has weights of other sizes"):
        read_file(written(tiny, tmp_path), READING, configs=folder)


def test_the_tokenizer_that_ships_with_us_is_clips() -> None:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(SD1 / "tokenizer", local_files_only=True)
    assert len(tokenizer) == 49408
    assert tokenizer.model_max_length == 77
    # Published with transformers' documentation and in OpenAI's own notebooks.
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    padded = tokenizer([""], padding="max_length", max_length=77).input_ids[0]
    assert padded == [49406] + [49407] * 76
