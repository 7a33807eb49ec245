"""Another autoencoder in place of the checkpoint's own: every form in which people have it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from backend.config import Settings
from backend.errors import ModelFailed
from backend.model.checkpoint import family as families
from backend.model.checkpoint import open as opening
from backend.model.checkpoint import single_file, vae
from backend.model.checkpoint.components import LoadOptions
from backend.model.checkpoint.folder import read_folder
from backend.model.checkpoint.hub import fetch_vae
from backend.model.checkpoint.open import open_checkpoint
from backend.model.checkpoint.source import Kind, Source, resolve_source
from backend.model.checkpoint.vae import read_vae
from tests.support.fake_hub import COMMIT, FakeHub
from tests.support.original_layout import VAE, Weights, to_original
from tests.support.tiny_sd import build_tiny_sd

READING = LoadOptions(torch.device("cpu"), torch.float32, safety_checker=False)
HUB_ID = "someone/sd-vae-ft-mse"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, `one` and `other`, in all layouts that we read."""
    place = tmp_path_factory.mktemp("vaes")
    for name, family in (("one", "1"), ("two", "2")):
        folder = build_tiny_sd(place / name, family=family)  # type: ignore[arg-type]
        save_file(to_original(read_folder(folder, READING)), place / f"{name}.safetensors")
    build_tiny_sd(place / "other", seed=2)
    return place


@pytest.fixture(scope="module")
def original(place: Path) -> Weights:
    """The other model's autoencoder, as in the file of a whole checkpoint."""
    weights = to_original(read_folder(place / "other", READING))
    return {name: weight for name, weight in weights.items() if name.startswith(VAE)}


@pytest.fixture(scope="module")
def expected(place: Path) -> Weights:
    """The same, as diffusers names it."""
    found = read_folder(place / "other", READING).networks.vae.state_dict()
    return {name: weight.contiguous() for name, weight in found.items()}


@pytest.fixture(autouse=True)
def small(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files have the tiny models' sizes instead of Stable Diffusion's."""
    monkeypatch.setattr(vae, "SD1", place / "one")
    monkeypatch.setattr(single_file, "SD1", place / "one")
    for family in ("STABLE_DIFFUSION_1", "STABLE_DIFFUSION_2"):
        found = getattr(families, family)
        folder = place / ("one" if family.endswith("1") else "two")
        monkeypatch.setattr(families, family, found._replace(configs=folder))


def same(found: Any, expected: Weights) -> bool:
    weights = found.state_dict()
    return weights.keys() == expected.keys() and all(
        torch.equal(weights[name], weight) for name, weight in expected.items()
    )


def alone(original: Weights) -> Weights:
    return {name.removeprefix(VAE): weight for name, weight in original.items()}


def with_training(original: Weights) -> Weights:
    left = {"loss.logvar": torch.zeros(()), "loss.discriminator.main.0.bias": torch.zeros(4)}
    return alone(original) | left | {"model_ema.decay": torch.zeros(())}


WRITINGS: dict[str, Callable[[Weights], Weights]] = {
    "vae-ft-mse-840000-ema-pruned": alone,
    "of a whole checkpoint": dict,
    "with what training left": with_training,
}


@pytest.mark.parametrize("writing", WRITINGS)
@pytest.mark.parametrize("ending", [".safetensors", ".ckpt", ".vae.pt"])
def test_a_file_in_the_original_layout(
    place: Path, tmp_path: Path, original: Weights, expected: Weights, writing: str, ending: str
) -> None:
    path, weights = tmp_path / f"x{ending}", WRITINGS[writing](original)
    if ending == ".safetensors":
        save_file(weights, path)
        reading = READING
    else:
        torch.save({"state_dict": weights, "epoch": 3}, path)
        with pytest.raises(ModelFailed, match="It is a pickle, and ALLOW_PICKLE is not set"):
            read_vae(path, READING, place / "one" / "vae")
        reading = READING._replace(allow_pickle=True)
    assert same(read_vae(path, reading, place / "one" / "vae"), expected)


OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def before_2023(expected: Weights) -> Weights:
    """The names with which sd-vae-ft-mse was published."""

    def rename(name: str) -> str:
        for new, old in OLD.items():
            name = name.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")
        return name

    return {rename(name): weight for name, weight in expected.items()}


@pytest.mark.parametrize("naming", [dict, before_2023])
def test_a_file_that_diffusers_wrote(
    place: Path, tmp_path: Path, expected: Weights, naming: Callable[[Weights], Weights]
) -> None:
    weights = naming(expected)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file(weights, path)
    assert same(read_vae(path, READING, place / "one" / "vae"), expected)
    (tmp_path / "config.json").write_bytes((place / "other" / "vae" / "config.json").read_bytes())
    assert same(read_vae(tmp_path, READING, place / "one" / "vae"), expected), "the folder as well"


def test_the_folder_of_a_whole_model_gives_its_own(place: Path, expected: Weights) -> None:
    assert same(read_vae(place / "other", READING, place / "one" / "vae"), expected)


SOURCES = {
    "a folder": Source(Kind.FOLDER, "one"),
    "a file": Source(Kind.FILE, "one.safetensors"),
    "a folder of 2.x": Source(Kind.FOLDER, "two"),
    "a file of 2.x": Source(Kind.FILE, "two.safetensors"),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_kind_of_model_takes_one(
    place: Path, tmp_path: Path, original: Weights, expected: Weights, source: Source
) -> None:
    save_file(alone(original), tmp_path / "vae.safetensors")
    settings = Settings(
        model=str(place / source.location), vae=str(tmp_path / "vae.safetensors"), data_dir=tmp_path
    )
    resolved = resolve_source(settings)
    assert resolved.kind is source.kind
    for _ in range(2):  # the second is recalled from the cache
        components = open_checkpoint(resolved, READING, tmp_path).components
        assert same(components.networks.vae, expected)
    assert components.tokenizer.pad_token == components.architecture.pad_token
    assert (components.tokenizer.pad_token == "!") is source.location.startswith("two")


@pytest.fixture
def hub(place: Path, tmp_path: Path) -> Iterator[FakeHub]:
    """A repository of nothing but an autoencoder, in two precisions, and a file besides."""
    folder = Path(shutil.copytree(place / "other" / "vae", tmp_path / "repository"))
    for name in ("diffusion_pytorch_model.fp16.safetensors", "vae-ft.ckpt", "README.md"):
        (folder / name).write_bytes(b"x")
    with FakeHub(folder, HUB_ID).serve() as hub:
        yield hub


def test_one_of_the_hub_is_fetched_once_and_nothing_besides(
    place: Path, tmp_path: Path, hub: FakeHub, expected: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    fetching = partial(fetch_vae, endpoint=hub.endpoint, cache=cache)
    monkeypatch.setattr(opening, "fetch_vae", fetching)
    source = Source(Kind.FOLDER, str(place / "one"), vae=HUB_ID)
    components = open_checkpoint(source, READING, tmp_path).components
    assert same(components.networks.vae, expected)
    assert sorted(hub.fetched) == ["config.json", "diffusion_pytorch_model.safetensors"]
    monkeypatch.setattr(opening, "fetch_vae", partial(fetching, endpoint="http://127.0.0.1:9"))
    assert same(open_checkpoint(source, READING, tmp_path).components.networks.vae, expected)


def test_of_a_whole_model_on_the_hub_only_that_part_is_fetched(place: Path, tmp_path: Path) -> None:
    with FakeHub(place / "other", "someone/model").serve() as hub:
        folder = fetch_vae("someone/model", half=False, endpoint=hub.endpoint, cache=tmp_path)
    assert (folder.name, folder.parent.name) == ("vae", COMMIT)
    assert {name.split("/")[0] for name in hub.fetched} == {"vae"}
    again = fetch_vae("someone/model", half=False, endpoint="http://127.0.0.1:9", cache=tmp_path)
    assert again == folder


def test_a_repository_without_one_is_told(tmp_path: Path, hub: FakeHub) -> None:
    (hub.folder / "config.json").unlink()
    with pytest.raises(ModelFailed, match="holds no autoencoder in diffusers layout: download"):
        fetch_vae(HUB_ID, half=False, endpoint=hub.endpoint, cache=tmp_path / "cache")


def test_one_of_sdxl_has_the_same_shapes_and_is_refused(place: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(place / "other" / "vae", tmp_path / "sdxl-vae"))
    config = json.loads((folder / "config.json").read_text("utf-8")) | {"scaling_factor": 0.13025}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    source = Source(Kind.FOLDER, str(place / "one"), vae=str(folder))
    with pytest.raises(ModelFailed, match=r"sdxl-vae: It belongs to another .* by 0.13025, this"):
        open_checkpoint(source, READING, tmp_path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"unet.weight": torch.zeros(1)}, "more or other than an autoencoder"),
        ({"decoder.conv_in.weight": torch.zeros(3, 3)}, "is no autoencoder of this family"),
        ({"decoder.conv_in.weight": None}, "is no autoencoder|lacks weights"),
    ],
)
def test_another_file_is_refused_in_one_sentence(
    place: Path, tmp_path: Path, original: Weights, change: dict[str, Any], match: str
) -> None:
    weights = {n: w for n, w in (alone(original) | change).items() if w is not None}
    save_file(weights, tmp_path / "odd.safetensors")
    source = Source(Kind.FOLDER, str(place / "one"), vae=str(tmp_path / "odd.safetensors"))
    with pytest.raises(ModelFailed, match=f"one can't be loaded. Its VAE, odd.*{match}") as failed:
        open_checkpoint(source, READING, tmp_path)
    assert "\n" not in str(failed.value)


def test_a_folder_without_a_config_and_other_endings_are_refused(
    place: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelFailed, match=r"it has no config.json"):
        read_vae(tmp_path, READING, place / "one" / "vae")
    (tmp_path / "vae.txt").touch()
    with pytest.raises(ModelFailed, match="It must be a folder, a Hugging Face id or"):
        read_vae(tmp_path / "vae.txt", READING, place / "one" / "vae")
    with pytest.raises(ValueError, match="no such file, folder or Hugging Face id"):
        Settings(vae="vae/missing.safetensors")
    assert resolve_source(Settings(model=str(place / "one"), vae=HUB_ID)).vae == HUB_ID
