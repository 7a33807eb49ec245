"""Several real models in one process: each draws what it draws alone."""

from __future__ import annotations

import asyncio
import gc
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backend.config import Settings
from backend.domain import Done
from backend.draft import Draft
from backend.engine.backend import LocalBackend
from backend.engine.loading import Offer
from backend.engine.turns import Turns
from backend.errors import ModelFailed
from backend.model.checkpoint.components import LoadOptions
from backend.model.checkpoint.folder import read_folder
from backend.model.loader import load_model
from backend.model.pipeline import LatentDiffusion
from backend.model.trajectory import LatentTrajectory
from backend.model_list import ModelEntry, Named
from backend.params import Lora, ModelState
from backend.startup import offers
from tests.support.fakes import images_of
from tests.support.local_backend import answer
from tests.support.lora_files import write_lora
from tests.support.tiny_sd import build_tiny_sd, finish, tiny_params

READING = LoadOptions(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model of each family, a broken one, and a LoRA for the first."""
    folder = tmp_path_factory.mktemp("models")
    one = build_tiny_sd(folder / "one")
    build_tiny_sd(folder / "two", family="2", seed=1)
    build_tiny_sd(folder / "other-vae", seed=2)
    (folder / "loras").mkdir()
    write_lora(folder / "loras" / "ink.safetensors", read_folder(one, READING).networks)
    (folder / "xl").mkdir()
    index = '{"_class_name": "StableDiffusionXLPipeline"}'
    (folder / "xl" / "model_index.json").write_text(index, encoding="utf-8")
    (folder / "models.toml").write_text(
        '[sd1]\nsource = "one"\n[sd2]\nsource = "two"\n[xl]\nsource = "xl"\n', encoding="utf-8"
    )
    return folder


def settings(folder: Path, **changes: object) -> Settings:
    given: dict[str, object] = {
        "models": folder / "models.toml",
        "device": "cpu",
        "dtype": "float32",
        "runtime": "torch",
        "num_threads": 1,
        "data_dir": folder / "data",
        "lora_dir": folder / "loras",
    }
    return Settings(**(given | changes))  # type: ignore[arg-type]


def load(folder: Path, source: str = "one", **entry: object) -> LatentDiffusion:
    wanted = ModelEntry.model_validate({"source": str(folder / source), **entry})
    common = settings(folder, models=None)
    return load_model(wanted.settings(common), lambda _: None, Named("named", wanted))


def drawn(model: LatentDiffusion) -> LatentTrajectory:
    trajectory = model.prepare(tiny_params(), 0)
    finish(model, trajectory)
    return trajectory


def latents_of(model: LatentDiffusion) -> torch.Tensor:
    return drawn(model).latents


async def draw(backend: LocalBackend, model: str) -> tuple[bytes, Done]:
    draft = Draft(
        request_id=model or "default",
        is_named=False,
        prompt="a red cat",
        seed=3,
        num_inference_steps=2,
        model=model,
    )
    events = await answer(backend, draft)
    done = events[-1]
    assert isinstance(done, Done)
    (finished,) = images_of(events)
    return np.asarray(Image.open(io.BytesIO(finished.image.data))).tobytes(), done


def models_alive() -> set[int]:
    """Those of other tests in this process included."""
    gc.collect()
    return {id(one) for one in gc.get_objects() if isinstance(one, LatentDiffusion)}


async def test_each_draws_what_it_draws_alone_and_weights_are_given_back(folder: Path) -> None:
    before = models_alive()
    alone = {}
    for name, source in (("sd1", "one"), ("sd2", "two")):
        single = settings(folder, models=None).model_copy(update={"model": str(folder / source)})
        backend = LocalBackend(single, offers(single, Turns()), "1.0")
        await backend.start()
        alone[name] = (await draw(backend, ""))[0]
        await backend.stop()
    assert alone["sd1"] != alone["sd2"]
    several, turns = settings(folder), Turns()
    backend = LocalBackend(several, offers(several, turns), "1.0", turns=turns)
    await backend.start()
    together = await asyncio.gather(*(draw(backend, name) for name in ("sd1", "sd2")))
    for pixels, done in together:
        assert pixels == alone[done.model.name]
        assert done.params.model == done.model.name
    with pytest.raises(ModelFailed, match=r"xl can't be loaded. It is a Stable Diffusion XL model"):
        await draw(backend, "xl")
    states = [model.state for model in backend.status().models]
    assert states == [ModelState.LOADED, ModelState.LOADED, ModelState.FAILED]
    await backend.stop()
    del backend, together
    assert models_alive() <= before


def test_another_vae_replaces_the_models(folder: Path) -> None:
    plain = load(folder)
    other = load(folder, vae=str(folder / "other-vae" / "vae"))
    assert torch.equal(latents_of(plain), latents_of(other)), "the UNet is the same"
    assert other.info.revision.startswith(f"{plain.info.revision}-vae-")
    assert other.info.name == "named"
    pictures = [model.decode(drawn(model)).pixels for model in (plain, other)]
    assert not np.array_equal(pictures[0], pictures[1])
    again = load(folder, vae=str(folder / "other-vae" / "vae"))  # from what the first load cached
    assert again.info == other.info
    assert np.array_equal(again.decode(drawn(again)).pixels, pictures[1])


def test_default_loras_are_checked_when_it_is_loaded(folder: Path) -> None:
    model = load(folder, loras={"ink": 0.5}, steps=3, guidance_scale=2)
    assert model.info.default_loras == (Lora("ink", 0.5),)
    assert (model.info.default_num_inference_steps, model.info.default_guidance_scale) == (3, 2.0)
    with pytest.raises(ModelFailed, match="Its LoRA oil: there is none of this name"):
        load(folder, loras={"oil": 1})


def test_an_offer_knows_how_many_bytes_to_expect(folder: Path) -> None:
    sd1: Offer = offers(settings(folder), Turns())[0]
    weights = [*(folder / "one").glob("*/*.safetensors")]
    assert sd1.expected_bytes() == sum(path.stat().st_size for path in weights) > 0
    assert replace(sd1, name="x").source.endswith("one")
