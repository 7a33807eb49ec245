"""Single files of Stable Diffusion 2: OpenCLIP's names, and what they predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from backend.errors import ModelFailed
from backend.model.checkpoint import family as families
from backend.model.checkpoint import open as opening
from backend.model.checkpoint import single_file
from backend.model.checkpoint.components import LoadOptions
from backend.model.checkpoint.family import STABLE_DIFFUSION_1, STABLE_DIFFUSION_2
from backend.model.checkpoint.folder import read_folder
from backend.model.checkpoint.single_file import read_file
from backend.model.checkpoint.source import SD1
from tests.support.original_layout import OPEN_CLIP, UNET, to_original
from tests.support.tiny_sd import build_tiny_sd, finish, load_tiny, tiny_params

READING = LoadOptions(torch.device("cpu"), torch.float32)
LAYERS = 23  # as published; the file has one more
SCHEDULERS: dict[str, Any] = {"v_prediction": DDIMScheduler, "epsilon": PNDMScheduler}
LAST_NORM = "up_blocks.1.attentions.1.transformer_blocks.0.norm1.bias"


def build(place: Path, prediction_type: Any) -> Path:
    """A folder, and beside it the same weights in one file as they were published."""
    folder = build_tiny_sd(
        place / prediction_type,
        family="2",
        text_layers=LAYERS,
        prediction_type=prediction_type,
        scheduler=SCHEDULERS[prediction_type],
        vae_scale_factor=2,
        tokens=16,
    )
    if prediction_type == "v_prediction":
        path = folder / "unet" / "diffusion_pytorch_model.safetensors"
        weights = load_file(path)
        weights[LAST_NORM] = torch.linspace(-0.3, 0.3, len(weights[LAST_NORM]))
        save_file(weights, path, metadata={"format": "pt"})
    save_file(to_original(read_folder(folder, READING)), folder.with_suffix(".safetensors"))
    return folder


@pytest.fixture(scope="module", params=SCHEDULERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("sd2"), request.param)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("base"), "epsilon")


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder.with_suffix(".safetensors"))


def test_the_names_are_those_of_the_published_files(base: Path) -> None:
    names = {name for name in weights_of(base) if name.startswith(OPEN_CLIP)}
    layer = f"{OPEN_CLIP}transformer.resblocks.23."
    assert {f"{layer}attn.in_proj_weight", f"{layer}mlp.c_fc.bias", f"{layer}ln_2.weight"} < names
    assert {f"{OPEN_CLIP}positional_embedding", f"{OPEN_CLIP}text_projection"} < names
    assert len(names) == 12 * 24 + 6


def test_a_file_holds_what_its_folder_holds(folder: Path) -> None:
    there = read_folder(folder, READING)
    back = read_file(folder.with_suffix(".safetensors"), READING, configs=folder)
    for part in ("unet", "vae", "text_encoder"):
        expected = getattr(there.networks, part).state_dict()
        found = getattr(back.networks, part).state_dict()
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected), part
    predicts_v = folder.name == "v_prediction"
    for name in ("prediction_type", "steps_offset", "clip_sample", "beta_schedule"):
        assert back.architecture.scheduler_config[name] == there.architecture.scheduler_config[name]
    assert back.architecture.scheduler_class == there.architecture.scheduler_class
    factor = back.architecture.vae_scale_factor
    assert back.architecture.native_size == ((96 if predicts_v else 8) * factor,) * 2
    assert (back.tokenizer.pad_token, back.architecture.pad_token) == ("!", "!")


def test_it_draws_what_its_folder_draws_at_every_start(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = STABLE_DIFFUSION_2._replace(configs=folder, v_sample_size=8)
    monkeypatch.setattr(families, "STABLE_DIFFUSION_2", small)
    for module in (single_file, opening):
        monkeypatch.setattr(module, "SD1", folder)  # the tokenizer
    params = tiny_params(prompt="a", scheduler="ddim")  # mostly padding
    pictures = []
    for source in (folder, folder.with_suffix(".safetensors"), folder.with_suffix(".safetensors")):
        model = load_tiny(source, data_dir=tmp_path / "data")
        trajectory = model.prepare(params, 0)
        finish(model, trajectory)
        pictures.append(model.decode(trajectory).pixels)
    assert pictures[0].std() > 1
    assert np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[0], pictures[2]), "the second start reads the cache"


def test_a_mark_counts_before_the_guess(base: Path, tmp_path: Path) -> None:
    marked = weights_of(base) | {"v_pred": torch.zeros(0)}
    save_file(marked, tmp_path / "marked.safetensors")
    found = read_file(tmp_path / "marked.safetensors", READING, configs=base).architecture
    assert found.scheduler_config["prediction_type"] == "v_prediction"
    assert found.scheduler_class == "DDIMScheduler"


def test_sd_turbos_file_is_one_of_them_and_sdxls_is_not(base: Path, tmp_path: Path) -> None:
    turbo = {
        name.replace(OPEN_CLIP, "conditioner.embedders.0.model."): weight
        for name, weight in weights_of(base).items()
    }
    path = tmp_path / "sd_turbo.safetensors"
    save_file(turbo, path)
    found = read_file(path, READING, configs=base).networks.text_encoder.state_dict()
    expected = read_folder(base, READING).networks.text_encoder.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    save_file(turbo | {f"{UNET}label_emb.0.0.weight": torch.zeros(1)}, path)
    with pytest.raises(ModelFailed, match="It is a Stable Diffusion XL model"):
        read_file(path, READING, configs=base)


def test_an_inpainting_model_predicts_noise_and_keeps_its_nine_channels(tmp_path: Path) -> None:
    for family, name in (("1", "sd-v1-5-inpainting"), ("2", "512-inpainting-ema")):
        folder = build_tiny_sd(tmp_path / name, inpainting=True, family=family)  # type: ignore[arg-type]
        weights = to_original(read_folder(folder, READING))
        norm = f"{UNET}output_blocks.3.1.transformer_blocks.0.norm1.bias"
        weights[norm] = torch.linspace(-0.3, 0.3, len(weights[norm]))
        save_file(weights, tmp_path / f"{name}.safetensors")
        found = read_file(tmp_path / f"{name}.safetensors", READING, configs=folder)
        assert found.architecture.extra_channels == 5
        assert found.architecture.scheduler_config["prediction_type"] == "epsilon"
        first = found.networks.unet.conv_in.weight
        assert torch.equal(first, read_folder(folder, READING).networks.unet.conv_in.weight)


@pytest.mark.parametrize(
    "name",
    ["ln_final.bias", "transformer.resblocks.22.attn.in_proj_weight", "token_embedding.weight"],
)
def test_a_file_that_lacks_weights_is_refused(base: Path, tmp_path: Path, name: str) -> None:
    weights = weights_of(base)
    del weights[OPEN_CLIP + name]
    save_file(weights, tmp_path / "broken.safetensors")
    with pytest.raises(ModelFailed, match="text encoder"):
        read_file(tmp_path / "broken.safetensors", READING, configs=base)


# As counted of the published weights.
PARAMETERS = {
    STABLE_DIFFUSION_1: (859_520_964, 123_060_480, 83_653_863),
    STABLE_DIFFUSION_2: (865_910_724, 340_387_840, 83_653_863),
}


@pytest.mark.parametrize("family", PARAMETERS, ids=lambda family: family.name)
def test_the_configs_that_ship_with_us_are_those_of_the_family(family: Any) -> None:
    configs = family.configs
    with torch.device("meta"):
        networks: list[torch.nn.Module] = [
            UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(configs / "unet")),
            CLIPTextModel(CLIPTextConfig.from_pretrained(configs / "text_encoder")),
            AutoencoderKL.from_config(AutoencoderKL.load_config(configs / "vae")),
        ]
    found = [sum(weight.numel() for weight in one.parameters()) for one in networks]
    assert tuple(found) == PARAMETERS[family]
    tokenizer = CLIPTokenizer.from_pretrained(
        SD1 / "tokenizer", local_files_only=True, pad_token=family.pad_token
    )
    padding = 0 if family is STABLE_DIFFUSION_2 else 49407
    ids = tokenizer("a photo of a cat", padding="max_length", max_length=77).input_ids
    assert ids == [49406, 320, 1125, 539, 320, 2368, 49407] + [padding] * 70
