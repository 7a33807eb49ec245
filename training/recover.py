"""From the folder that ships back to checkpoints, so that training goes on where they are gone."""

import json
import shutil
from pathlib import Path

from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor

from training import paths
from training.meanings import Directions

DIRECTIONS = "training/directions.safetensors"
"""In the folder that ships: what the codes that the UNet was trained on are made of."""
POOLING = "add_embedding."


def save_directions(directions: Directions, folder: Path) -> None:
    file = folder / DIRECTIONS
    file.parent.mkdir(exist_ok=True)
    save_file({name: value.half() for name, value in directions.state_dict().items()}, file)


def _denoiser(unet: dict[str, Tensor], samples: int) -> dict[str, object]:
    weights = {name: value for name, value in unet.items() if not name.startswith(POOLING)}
    return {"model": weights, "averaged": weights, "samples": samples}


def _words(text_encoder: dict[str, Tensor], unet: dict[str, Tensor]) -> dict[str, object]:
    encoder = {f"text_encoder.{name}": value for name, value in text_encoder.items()}
    pooling = {
        name.replace(POOLING, "pooling."): value
        for name, value in unet.items()
        if name.startswith(POOLING)
    }
    return {"model": encoder | pooling}


def recover(folder: Path, cache: Path) -> None:
    """Write checkpoints of all stages into `cache`; those that are there already stay.

    They hold weights alone, and how many samples made them: the stages' clocks and optimizers start
    afresh.
    """
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    if not (cache / "tokenizer").exists():
        shutil.copytree(folder / "tokenizer", cache / "tokenizer")
    unet, text_encoder = pipe.unet.state_dict(), pipe.text_encoder.state_dict()
    directions = {name: value.float() for name, value in load_file(folder / DIRECTIONS).items()}
    samples = json.loads((folder / "evaluation.json").read_text())["samples"]
    found = {
        "decoder": {"model": pipe.vae.state_dict()},
        "directions": directions,
        "denoiser": _denoiser(unet, samples),
        "words": _words(text_encoder, unet),
    }
    for stage, state in found.items():
        if not (cache / f"{stage}.pt").exists():
            paths.save_atomically(state, cache / f"{stage}.pt")
