"""Folders in diffusers layout: common ones load, others are refused with the reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from backend.config import Settings
from backend.errors import ModelFailed
from backend.model.checkpoint.components import LoadOptions
from backend.model.checkpoint.folder import STAND_INS, read_folder
from backend.model.checkpoint.source import resolve_source
from backend.model.noise_schedulers import NoiseSchedulers
from tests.support.tiny_sd import load_tiny, tiny_params

READING = LoadOptions(torch.device("cpu"), torch.float32)
# As published with a model that many people have.
DEIS = {
    "_class_name": "DEISMultistepScheduler", "algorithm_type": "deis", "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": False,
    "dynamic_thresholding_ratio": 0.995, "lower_order_final": True, "num_train_timesteps": 1000,
    "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": False,
    "skip_prk_steps": True, "solver_order": 2, "solver_type": "logrho", "steps_offset": 1,
    "thresholding": False, "timestep_spacing": "leading", "trained_betas": None,
}  # fmt: skip


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to break."""
    return Path(shutil.copytree(tiny_model, tmp_path / "tiny"))


def change(path: Path, **changes: Any) -> None:
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8"
    )


def refusal(folder: Path) -> str:
    with pytest.raises(ModelFailed) as failed:
        load_tiny(folder)
    assert "\n" not in str(failed.value)
    return str(failed.value)


@pytest.mark.parametrize("name", STAND_INS)
def test_a_noise_scheduler_that_is_not_offered_has_a_stand_in(folder: Path, name: str) -> None:
    change(folder / "model_index.json", scheduler=["diffusers", name])
    change(folder / "scheduler" / "scheduler_config.json", _class_name=name, solver_order=2)
    architecture = read_folder(folder, READING).architecture
    assert architecture.scheduler_class == STAND_INS[name]
    schedulers = NoiseSchedulers(architecture.scheduler_class, architecture.scheduler_config)
    assert len(schedulers.create(schedulers.default, 5).timesteps) >= 5
    assert architecture.scheduler_config["beta_schedule"] == "scaled_linear"


def test_a_model_with_deis_loads_and_draws_with_its_schedule(folder: Path) -> None:
    change(folder / "model_index.json", scheduler=["diffusers", DEIS["_class_name"]])
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(DEIS), encoding="utf-8")
    model = load_tiny(folder)
    assert model.info.default_scheduler == "dpmpp_2m"
    trajectory = model.prepare(tiny_params(scheduler="dpmpp_2m"), 0)
    assert trajectory.noise_scheduler.config.timestep_spacing == "leading"
    while trajectory.step_index < trajectory.num_evaluations:
        assert model.denoise_step([trajectory]) == [None]
    assert torch.isfinite(trajectory.latents).all()


def test_a_flow_matching_scheduler_is_refused(folder: Path) -> None:
    change(folder / "model_index.json", scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"])
    assert "Its scheduler is FlowMatchEulerDiscreteScheduler" in refusal(folder)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("scheduler", "Its scheduler is missing: no scheduler_config.json in"),
        ("tokenizer", "Its tokenizer is missing: no tokenizer.json or vocab.json and merges.txt"),
        ("unet", "Its unet is missing"),
        ("text_encoder", "Its text_encoder is missing"),
    ],
)
def test_a_part_that_is_missing_is_told(folder: Path, part: str, told: str) -> None:
    shutil.rmtree(folder / part)
    assert told in refusal(folder)


def test_weights_that_were_cloned_without_git_lfs_are_told(folder: Path) -> None:
    (path,) = (folder / "unet").glob("*.safetensors")
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 42\n")
    told = refusal(folder)
    assert "Its unet is broken" in told
    assert "a Git LFS pointer" in told


def test_weights_that_were_cut_short_are_told(folder: Path) -> None:
    (path,) = (folder / "vae").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-10])
    assert "Its download was cut short" in refusal(folder)


@pytest.mark.parametrize(
    ("pipeline", "told"),
    [
        ("StableDiffusionXLPipeline", "It is a Stable Diffusion XL model"),
        ("StableDiffusion3Pipeline", "It is a Stable Diffusion 3 model"),
        ("FluxPipeline", "It is a Flux model"),
        ("StableDiffusionXLInpaintPipeline", "It is a Stable Diffusion XL model"),
    ],
)
def test_other_pipelines_are_named(folder: Path, pipeline: str, told: str) -> None:
    change(folder / "model_index.json", _class_name=pipeline)
    assert told in refusal(folder)


def test_a_folder_that_is_no_model_says_what_it_may_be(folder: Path, tmp_path: Path) -> None:
    (folder / "model_index.json").unlink()
    assert "it has no model_index.json" in refusal(folder)
    (folder / "v1-5.safetensors").touch()
    assert "set MODEL to one, v1-5.safetensors for example" in refusal(folder)
    cache = folder.rename(tmp_path / "models--owner--name")
    assert "set MODEL=owner/name" in refusal(cache)


def test_a_link_is_called_by_its_own_name(folder: Path, tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa"
    blob.parent.mkdir()
    blob.touch()
    link = tmp_path / "v1-5.safetensors"
    link.symlink_to(blob)
    assert resolve_source(Settings(model=str(link))).name == "v1-5"
    shared = tmp_path / "shared"
    shared.symlink_to(folder)
    assert resolve_source(Settings(model=f"{shared}/")).name == "shared"


def test_a_file_of_another_kind_is_not_said_to_be_missing(tmp_path: Path) -> None:
    for name in ("model.gguf", "model.pt", "model"):
        (tmp_path / name).touch()
        with pytest.raises(ModelFailed, match=r"a file must be a \.safetensors file or a \.ckpt"):
            resolve_source(Settings(model=str(tmp_path / name)))
