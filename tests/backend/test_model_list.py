"""The TOML file of the served models: what it says, and one clear line where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.config import Settings
from backend.engine.turns import Turns
from backend.errors import ConfigError
from backend.model_list import read_model_list
from backend.params import Lora
from backend.startup import offers

GOOD = """
[photo]
source = "owner/name"
revision = "main"
dtype = "float32"
loras = { ink = 0.8, oil = -1 }
max_pixels = 262144
max_steps = 30

["turbo 2"]
source = "turbo"
steps = 2
guidance_scale = 0
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "models.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_key_reaches_its_model_alone(tmp_path: Path) -> None:
    (tmp_path / "turbo").mkdir()
    path = write(tmp_path, GOOD)
    entries = read_model_list(path)
    assert [*entries] == ["photo", "turbo 2"]
    common = Settings(models=path, dtype="bfloat16", max_steps=70)
    photo, turbo = (entries[name].settings(common) for name in entries)
    assert (photo.model, photo.revision, photo.dtype) == ("owner/name", "main", "float32")
    assert (photo.max_steps, photo.max_pixels) == (30, 262144)
    assert photo.limits(8).max_num_inference_steps == 30
    assert entries["photo"].default_loras == (Lora("ink", 0.8), Lora("oil", -1.0))
    assert (turbo.model, turbo.revision) == (str(tmp_path / "turbo"), None)  # beside the file
    assert (turbo.dtype, turbo.max_steps) == ("bfloat16", 70)
    assert (entries["turbo 2"].steps, entries["turbo 2"].guidance_scale) == (2, 0.0)


def test_without_a_list_there_is_one_model_whose_name_loading_tells() -> None:
    (offer,) = offers(Settings(), Turns())
    assert (offer.name, offer.limits) == ("", None)


def test_the_memory_of_a_model_is_guessed_from_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    for part in ("unet", "vae", "text_encoder", "tokenizer"):
        (folder / part).mkdir(parents=True)
    (folder / "model_index.json").write_text("{}", encoding="utf-8")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"x" * 1000)
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"x" * 5000)
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"x" * 200)
    (folder / "tokenizer" / "vocab.json").write_bytes(b"x" * 70)
    path = write(tmp_path, '[one]\nsource = "one"\n[two]\nsource = "nobody/nothing"')
    one, two = offers(Settings(models=path, device="cpu"), Turns())
    assert (one.expected_bytes(), two.expected_bytes()) == (1200, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[photo", "is not TOML: "),
        ("", "names no model"),
        ('source = "x"', "source stands outside of a table"),
        ("[photo]", "[photo] source is missing"),
        ('[photo]\nsource = ""', "[photo] source=''"),
        ("[photo]\nsource = 3", "[photo] source=3"),
        ('[photo]\nsource = "x"\nmax_stps = 3', "max_stps: there is no such setting. Did you mean"),
        ('[photo]\nsource = "x"\nmax_steps = 0', "[photo] max_steps=0"),
        ('[photo]\nsource = "x"\ndtype = "int8"', "[photo] dtype='int8'"),
        ('[photo]\nsource = "x"\nloras = { ink = 3 }', "[photo] loras.ink=3"),
        ('[photo]\nsource = "x"\nvae = "gone.safetensors"', "[photo] vae: no such file"),
        ('["a\\nb"]\nsource = "x"', "a name has 1 to"),
        ('[photo]\nsource = "x"\n[photo]\nsource = "y"', "is not TOML: "),
    ],
)
def test_a_wrong_file_is_one_line_that_says_where(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_model_list(path)
    line = str(caught.value)
    assert line.startswith(f"TEXT2IMAGE_MODELS={path}: ")
    assert said in line
    assert "\n" not in line
