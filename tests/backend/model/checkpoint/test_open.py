"""A second start uses the first one's cache and generates the same images."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from backend.engine.protocols import Pixels
from backend.errors import ModelFailed
from backend.model import loader
from backend.model.checkpoint import folder as checkpoint
from backend.model.checkpoint.cache import CheckpointCache
from backend.model.checkpoint.components import LoadOptions
from backend.model.checkpoint.fingerprint import fingerprint
from backend.model.checkpoint.open import Checkpoint, open_checkpoint
from backend.model.checkpoint.source import Kind, Source
from backend.model.pipeline import LatentDiffusion
from backend.model.preview import PreviewProjector
from tests.support.tiny_sd import build_tiny_sd, load_tiny, tiny_params

ROOT = Path(__file__).parent.parent.parent.parent.parent
EMBEDDED = ROOT / "models" / "text2image-mini"
GARBAGE = {
    "empty": b"",
    "half": b'{"native_size": [1',
    "a list": b"[]",
    "too little": b'{"native_size": [64, 64]}',
    "zeros": bytes(100),
}
READING = LoadOptions(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def whole(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's networks, with previews that have to be fitted and a safety checker."""
    folder = build_tiny_sd(tmp_path_factory.mktemp("models") / "tiny", safety_checker=True)
    for network in ("text_encoder", "unet", "vae"):
        shutil.copytree(tiny_model / network, folder / network, dirs_exist_ok=True)
    config = folder / "vae" / "config.json"
    scaled = json.loads(config.read_text("utf-8")) | {"scaling_factor": 0.5}
    config.write_text(json.dumps(scaled), "utf-8")
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy, to change."""
    return Path(shutil.copytree(whole, tmp_path / "tiny"))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def opened(folder: Path, data_dir: Path, reading: LoadOptions = READING) -> Checkpoint:
    return open_checkpoint(Source(Kind.FOLDER, str(folder)), reading, data_dir)


def drawn(model: LatentDiffusion) -> tuple[Pixels, Pixels]:
    """A preview, and the picture."""
    trajectory = model.prepare(tiny_params(num_inference_steps=2), 0)
    model.denoise_step([trajectory])
    preview = model.preview(trajectory)
    model.denoise_step([trajectory])
    return preview, model.decode(trajectory).pixels


def forbid(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(owner, name, fail)


def test_a_start_from_converted_networks_reads_none(
    folder: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_tiny(folder, runtime="openvino", data_dir=data_dir)
    forbid(monkeypatch, checkpoint, "read_folder")
    forbid(monkeypatch, loader, "fit_projector")
    second = load_tiny(folder, runtime="openvino", data_dir=data_dir)
    assert second.info == first.info
    for model in (first, second):
        assert "networks" not in vars(model.components)
    for ours, theirs in zip(drawn(second), drawn(first), strict=True):
        assert np.array_equal(ours, theirs)


def test_torch_draws_the_same_after_a_second_start(folder: Path, data_dir: Path) -> None:
    first, second = (load_tiny(folder, data_dir=data_dir) for _ in range(2))
    assert second.info == first.info
    for ours, theirs in zip(drawn(second), drawn(first), strict=True):
        assert np.array_equal(ours, theirs)


def test_the_embedded_models_architecture_is_the_same_after_a_second_start(
    data_dir: Path,
) -> None:
    """Its noise scheduler's configuration holds an infinity."""
    first, second = (opened(EMBEDDED, data_dir).components.architecture for _ in range(2))
    assert second.scheduler_config == first.scheduler_config
    assert second.scheduler_config["lambda_min_clipped"] == -math.inf


def test_the_safety_checker_is_there_whenever_it_is_wanted(folder: Path, data_dir: Path) -> None:
    without = READING._replace(safety_checker=False)
    for reading in (without, READING, without):
        components = opened(folder, data_dir, reading).components
        assert (components.safety_checker is not None) is reading.safety_checker
        assert (components.feature_extractor is not None) is reading.safety_checker


def test_a_recalled_checkpoint_reads_its_networks_when_they_are_needed(
    folder: Path, data_dir: Path
) -> None:
    first, second = (opened(folder, data_dir).components for _ in range(2))
    assert second.architecture == first.architecture
    assert "networks" not in vars(second)
    theirs, ours = first.networks.unet.state_dict(), second.networks.unet.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_files_that_changed_meanwhile_are_refused(folder: Path, data_dir: Path) -> None:
    opened(folder, data_dir)
    components = opened(folder, data_dir).components
    config = folder / "unet" / "config.json"
    config.write_text(config.read_text("utf-8") + "\n", encoding="utf-8")
    with pytest.raises(ModelFailed, match=r"tiny can't be loaded\. Its files are others.*restart"):
        components.read()


def test_weights_that_vanish_are_told_in_one_line(folder: Path, data_dir: Path) -> None:
    opened(folder, data_dir)
    shutil.rmtree(folder / "vae")
    with pytest.raises(ModelFailed, match="vae is missing"):
        opened(folder, data_dir)


@pytest.mark.parametrize("kind", ["architecture", "preview"])
@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_found_out_anew(folder: Path, data_dir: Path, kind: str, content: bytes) -> None:
    first = load_tiny(folder, data_dir=data_dir)
    (kept,) = data_dir.glob(f"{kind}/*.json")
    good = kept.read_bytes()
    kept.write_bytes(content)
    second = load_tiny(folder, data_dir=data_dir)
    assert second.info == first.info
    assert kept.read_bytes() == good


def test_what_another_diffusers_found_is_not_taken(
    folder: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(folder, data_dir)
    monkeypatch.setattr(diffusers, "__version__", "0.1")
    assert CheckpointCache(data_dir, fingerprint(folder)).architecture.load() is None


def test_a_folder_that_cannot_be_written_costs_only_time(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "architecture").touch()
    model = load_tiny(folder, data_dir=tmp_path)
    assert "can't be kept" in caplog.text
    assert drawn(model)[1].shape == (64, 64, 3)


def test_a_projector_comes_back_as_it_was(tmp_path: Path) -> None:
    projector = PreviewProjector(torch.randn(12, 4, 3, 3), torch.randn(12))
    CheckpointCache(tmp_path, "r1").save_projector(projector)
    back = CheckpointCache(tmp_path, "r1").load_projector()
    assert back is not None
    latents = torch.randn(1, 4, 5, 6)
    assert np.array_equal(back.project(latents), projector.project(latents))


LOADED = """
import sys
from pathlib import Path
from backend import logs
from backend.config import Settings
from backend.startup import loader
logs.configure("json", "info")
model, data_dir, runtime = sys.argv[1:]
wanted = Settings(
    model=model, data_dir=Path(data_dir), runtime=runtime, device="cpu", dtype="float32"
)
loader(wanted)(lambda _: None)
import json, logging
for library in ("transformers", "diffusers"):
    logging.getLogger(library + ".test").error("a library's error")
slow = ("torch._dynamo", "transformers.modeling_utils", "diffusers.models.unets")
print(json.dumps([name for name in slow if name in sys.modules]))
"""


def test_a_warm_start_imports_no_network(tiny_model: Path, data_dir: Path) -> None:
    """They take two seconds of every start."""
    load_tiny(tiny_model, runtime="openvino", data_dir=data_dir)
    cold = ["transformers.modeling_utils", "diffusers.models.unets"]
    for runtime, expected in (("torch", cold), ("openvino", [])):
        done = subprocess.run(
            [sys.executable, "-c", LOADED, str(tiny_model), str(data_dir), runtime],
            cwd=ROOT,
            env=os.environ,
            capture_output=True,
            text=True,
            timeout=550,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert set(expected) <= set(json.loads(done.stdout.splitlines()[-1]))
        log = [json.loads(line) for line in done.stderr.splitlines()]
        assert [line["logger"] for line in log if line["event"] == "a library's error"] == [
            "transformers.test",
            "diffusers.test",
        ]
        assert not [line for line in log if "torchvision" in line["event"]]
    assert json.loads(done.stdout.splitlines()[-1]) == []
