"""Downloading models: only needed files, once, and clear errors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from backend.errors import ModelFailed
from backend.model.checkpoint.components import LoadOptions
from backend.model.checkpoint.folder import read_folder
from backend.model.checkpoint.hub import cached_folder, fetch, needed
from tests.support.fake_hub import COMMIT, FakeHub
from tests.support.tiny_sd import build_tiny_sd

MODEL = "someone/tiny"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like Stable Diffusion 1.4's: weights in two precisions and formats, and much besides."""
    folder = tmp_path_factory.mktemp("hub") / "tiny"
    build_tiny_sd(folder, safety_checker=True)
    half = build_tiny_sd(
        folder.parent / "half", safety_checker=True, dtype=torch.float16, variant="fp16"
    )
    for path in half.glob("*/*.safetensors"):
        shutil.copy(path, folder / path.parent.name / path.name)
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    (folder / "sd-v1-4.ckpt").write_bytes(b"pickle")
    (folder / "README.md").write_text("# Tiny", encoding="utf-8")
    return folder


@pytest.fixture
def hub(repository: Path) -> Iterator[FakeHub]:
    with FakeHub(repository, MODEL).serve() as hub:
        yield hub


def test_a_model_is_fetched_whole_and_nothing_besides(hub: FakeHub, tmp_path: Path) -> None:
    folder = fetch(MODEL, None, half=False, endpoint=hub.endpoint, cache=tmp_path)
    assert folder.name == COMMIT
    weights = [name for name in hub.fetched if name.endswith((".safetensors", ".bin", ".ckpt"))]
    assert len(weights) == 4
    assert not any("fp16" in name or name.endswith((".bin", ".ckpt")) for name in hub.fetched)
    assert (folder / "README.md").read_text("utf-8") == "# Tiny"
    components = read_folder(folder, LoadOptions(torch.device("cpu"), torch.float32))
    assert components.safety_checker is not None


def test_half_precision_fetches_its_variant(hub: FakeHub, tmp_path: Path) -> None:
    folder = fetch(MODEL, None, half=True, endpoint=hub.endpoint, cache=tmp_path)
    weights = [name for name in hub.fetched if name.endswith(".safetensors")]
    assert len(weights) == 4
    assert all("fp16" in name for name in weights)
    components = read_folder(folder, LoadOptions(torch.device("cpu"), torch.float16))
    assert components.networks.unet.dtype == torch.float16


def test_what_is_cached_is_used_without_asking(hub: FakeHub, tmp_path: Path) -> None:
    first = fetch(MODEL, None, half=False, endpoint=hub.endpoint, cache=tmp_path)
    assert fetch(MODEL, None, half=False, endpoint="http://127.0.0.1:9", cache=tmp_path) == first


def test_a_download_that_broke_off_is_not_taken_for_whole(hub: FakeHub, tmp_path: Path) -> None:
    folder = fetch(MODEL, None, half=False, endpoint=hub.endpoint, cache=tmp_path)
    assert cached_folder(MODEL, cache=tmp_path) == folder
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert cached_folder(MODEL, cache=tmp_path) is None
    fetch(MODEL, None, half=False, endpoint=hub.endpoint, cache=tmp_path)
    assert cached_folder(MODEL, cache=tmp_path) == folder
    shutil.rmtree(folder / "tokenizer")
    assert cached_folder(MODEL, cache=tmp_path) is None
    assert cached_folder("not/an/id", cache=tmp_path) is None


def test_a_missing_shard_is_noticed(hub: FakeHub, tmp_path: Path) -> None:
    folder = fetch(MODEL, None, half=False, endpoint=hub.endpoint, cache=tmp_path)
    shards = {"weight_map": {"a": "diffusion_pytorch_model.safetensors", "b": "second.safetensors"}}
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps(shards), encoding="utf-8")
    assert cached_folder(MODEL, cache=tmp_path) is None
    (folder / "unet" / "second.safetensors").touch()
    assert cached_folder(MODEL, cache=tmp_path) == folder


@pytest.mark.parametrize(
    ("status", "match"), [(404, "The hub has no model"), (403, "accepted its licence")]
)
def test_a_model_that_cannot_be_had_is_told(
    hub: FakeHub, tmp_path: Path, status: int, match: str
) -> None:
    hub.status = status
    with pytest.raises(ModelFailed, match=match):
        fetch(MODEL, None, half=False, endpoint=hub.endpoint, cache=tmp_path)


def test_no_network_and_no_cache_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("[Errno 111] Connection refused")

    monkeypatch.setattr("backend.model.checkpoint.hub.HfApi.list_repo_files", unreachable)
    with pytest.raises(ModelFailed, match=r"not in the hub's cache.*Connection refused"):
        fetch(MODEL, None, half=False, cache=tmp_path)


def test_pickles_are_fetched_only_with_permission_and_need() -> None:
    files = [
        "model_index.json",
        "unet/config.json",
        "unet/model.bin",
        "vae/a.bin",
        "vae/a.safetensors",
    ]
    assert "unet/model.bin" not in needed(files, half=False, allow_pickle=False)
    allowed = needed(files, half=False, allow_pickle=True)
    assert "unet/model.bin" in allowed
    assert "vae/a.bin" not in allowed


def test_sharded_weights_come_with_their_index() -> None:
    files = [
        "unet/w-00001-of-00002.safetensors",
        "unet/w-00002-of-00002.safetensors",
        "unet/w.safetensors.index.json",
        "unet/w.safetensors.index.fp16.json",
        "unet/w.fp16.safetensors",
        "unet/w.non_ema.safetensors",
    ]
    assert set(needed(files, half=False, allow_pickle=False)) == {"model_index.json", *files[:3]}
    assert "unet/w.fp16.safetensors" in needed(files, half=True, allow_pickle=False)
    assert files[0] not in needed(files, half=True, allow_pickle=False)
