"""Loading from every kind of source, and clear errors."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from backend.config import Settings
from backend.errors import ModelFailed
from backend.model.checkpoint.components import LoadOptions
from backend.model.checkpoint.fingerprint import fingerprint
from backend.model.checkpoint.folder import read_folder
from backend.model.checkpoint.source import embedded_model
from backend.model.loader import load_model
from tests.support.tiny_sd import build_tiny_sd, finish, load_tiny, tiny_params

CPU = torch.device("cpu")
READING = LoadOptions(CPU, torch.float32)


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to break."""
    return Path(shutil.copytree(tiny_model, tmp_path / "tiny"))


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8"
    )


# Folders that are not whole


def test_a_folder_without_an_index_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFailed, match=r"no model in diffusers layout.*model_index\.json"):
        load_tiny(tmp_path)


def test_an_index_that_is_no_json_is_told(folder: Path) -> None:
    (folder / "model_index.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelFailed, match=r"model_index\.json is not JSON"):
        load_tiny(folder)


@pytest.mark.parametrize(
    ("part", "found", "match"),
    [
        ("unet", ["diffusers", "FluxTransformer2DModel"], "unet is FluxTransformer2DModel"),
        ("vae", ["diffusers", "AutoencoderDC"], "AutoencoderKL or AutoencoderTiny"),
        ("text_encoder", None, "text_encoder is missing"),
        ("scheduler", ["diffusers", "FlowMatchEulerDiscreteScheduler"], "scheduler is FlowMatch"),
    ],
)
def test_parts_of_another_kind_are_refused(folder: Path, part: str, found: Any, match: str) -> None:
    edit_json(folder / "model_index.json", **{part: found})
    with pytest.raises(ModelFailed, match=match):
        load_tiny(folder)


def test_a_missing_part_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "vae")
    with pytest.raises(ModelFailed, match="vae is missing"):
        load_tiny(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_missing_weights_are_named_and_never_random(folder: Path, part: str) -> None:
    path = next((folder / part).glob("*.safetensors"))
    weights = load_file(path)
    gone = sorted(weights)[-1]
    del weights[gone]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ModelFailed, match=rf"{part} lacks 1 weights, .*{gone.split('.')[-1]}"):
        load_tiny(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    edit_json(folder / "unet" / "config.json", block_out_channels=[32, 128])
    with pytest.raises(ModelFailed, match="tiny can't be loaded"):
        load_tiny(folder)


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_truncated_file_is_told_in_one_line(folder: Path, part: str) -> None:
    path = next((folder / part).glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelFailed, match="tiny can't be loaded") as failed:
        load_tiny(folder)
    assert "\n" not in str(failed.value)


def test_parts_that_do_not_belong_together_are_told(tmp_path: Path) -> None:
    four = build_tiny_sd(tmp_path / "four")
    eight = build_tiny_sd(tmp_path / "eight", latent_channels=8)
    shutil.rmtree(four / "vae")
    shutil.copytree(eight / "vae", four / "vae")
    with pytest.raises(ModelFailed, match="4 channels, its autoencoder on 8"):
        load_tiny(four)


def test_pickled_weights_need_permission(folder: Path) -> None:
    path = next((folder / "unet").glob("*.safetensors"))
    torch.save(load_file(path), path.with_name("diffusion_pytorch_model.bin"))
    path.unlink()
    with pytest.raises(ModelFailed, match="safetensors"):
        load_tiny(folder)
    assert load_tiny(folder, allow_pickle=True).info.name == "tiny"


def test_half_precision_files_are_found_where_there_are_no_others(tmp_path: Path) -> None:
    folder = build_tiny_sd(tmp_path / "tiny", dtype=torch.float16, variant="fp16")
    assert list((folder / "unet").glob("*.fp16.safetensors"))
    assert load_tiny(folder, dtype="float32").info.dtype == "float32"


def test_half_precision_is_read_from_its_own_files(folder: Path) -> None:
    half = read_folder(
        build_tiny_sd(folder.parent / "half", seed=1, dtype=torch.float16, variant="fp16"),
        LoadOptions(CPU, torch.float16),
    )
    for path in (folder.parent / "half").glob("*/*.fp16.safetensors"):
        shutil.copy(path, folder / path.parent.name / path.name)
    both = read_folder(folder, LoadOptions(CPU, torch.float16))
    whole = read_folder(folder, READING)
    from_both, from_half, from_whole = (
        components.networks.unet.state_dict()["conv_in.weight"]
        for components in (both, half, whole)
    )
    assert torch.equal(from_both, from_half)
    assert not torch.equal(from_whole, from_half.float())


# Revision, progress, network


def test_the_revision_follows_the_content(folder: Path) -> None:
    before = fingerprint(folder)
    assert len(before) == 12
    assert load_tiny(folder).info.revision == before
    path = folder / "scheduler" / "scheduler_config.json"
    edit_json(path, beta_end=0.013)
    changed = fingerprint(folder)
    assert changed != before
    (folder / "notes.md").write_text("not part of the model", encoding="utf-8")
    assert fingerprint(folder) == changed


def test_the_hash_of_a_large_file_sees_both_of_its_ends(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    content = np.zeros(5 * 2**20, np.uint8)
    found = set()
    for index in (None, 0, len(content) - 1):
        changed = content.copy()
        if index is not None:
            changed[index] = 1
        path.write_bytes(changed.tobytes())
        found.add(fingerprint(path))
    assert len(found) == 3


def test_loading_tells_what_it_does(tiny_model: Path, tmp_path: Path) -> None:
    told: list[str] = []
    settings = Settings(
        model=str(tiny_model), dtype="float32", runtime="torch", num_threads=1, data_dir=tmp_path
    )
    load_model(settings, told.append)
    assert [line.split()[0] for line in told] == ["Loading", "Warming"]


def test_the_model_that_ships_with_us_loads_and_draws(tmp_path: Path) -> None:
    told: list[str] = []
    settings = Settings(device="cpu", runtime="torch", num_threads=1, data_dir=tmp_path)
    model = load_model(settings, told.append)
    assert model.info.name == embedded_model().name
    assert "no CUDA device" in model.info.note
    size = {"height": model.info.native_height, "width": model.info.native_width}
    params = tiny_params(scheduler=model.info.default_scheduler, **size)
    trajectory = model.prepare(params, 0)
    finish(model, trajectory)
    assert model.decode(trajectory).pixels.shape == (*size.values(), 3)


def test_a_local_model_touches_no_network(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    model = load_tiny(tiny_model)
    trajectory = model.prepare(tiny_params(), 0)
    assert model.denoise_step([trajectory]) == [None]


def test_telemetry_is_off() -> None:
    script = (
        "import backend.model; from huggingface_hub import constants; "
        "assert constants.HF_HUB_DISABLE_TELEMETRY"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environ.pop("DO_NOT_TRACK", None)
    subprocess.run([sys.executable, "-c", script], check=True, env=environ)
