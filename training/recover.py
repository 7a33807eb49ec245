"""Turns the shipped folder back into checkpoints, to continue training without the originals."""

import shutil
from pathlib import Path

from diffusers import AutoencoderTiny, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor

from training import autoencoder, paths

ENCODER = "training/encoder.safetensors"
"""In the folder that ships: the small autoencoder's encoder, which says what latents mean."""
PROJECTION = "encoder_hid_proj."


def save_encoder(small: AutoencoderTiny, folder: Path) -> None:
    file = folder / ENCODER
    file.parent.mkdir(exist_ok=True)
    weights = small.encoder.state_dict().items()
    save_file({name: value.half().contiguous() for name, value in weights}, file)


def _unet(weights: dict[str, Tensor]) -> dict[str, object]:
    own = {name: value for name, value in weights.items() if not name.startswith(PROJECTION)}
    return {"model": own, "averaged": own}


def _text_encoder(weights: dict[str, Tensor], unet: dict[str, Tensor]) -> dict[str, object]:
    encoder = {f"text_encoder.{name}": value for name, value in weights.items()}
    projection = {
        name.replace(PROJECTION, "projection."): value
        for name, value in unet.items()
        if name.startswith(PROJECTION)
    }
    return {"model": encoder | projection}


def recover(folder: Path, cache: Path) -> None:
    """Write checkpoints of all stages into `cache`; existing ones are kept.

    They contain weights only: clocks and optimizers start fresh. The small autoencoder gets its
    encoder but not its decoder, which is not needed any more.
    """
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    if not (cache / "tokenizer").exists():
        shutil.copytree(folder / "tokenizer", cache / "tokenizer")
    unet, text_encoder = pipe.unet.state_dict(), pipe.text_encoder.state_dict()
    small = autoencoder.build()
    known = load_file(folder / ENCODER).items()
    small.encoder.load_state_dict({name: value.float() for name, value in known})
    found: dict[str, dict[str, object]] = {
        "autoencoder": {"model": small.state_dict()},
        "text_encoder": _text_encoder(text_encoder, unet),
        "unet": _unet(unet),
        "decoder": {"model": pipe.vae.state_dict()},
    }
    for stage, state in found.items():
        if not (cache / f"{stage}.pt").exists():
            paths.save_atomically(state, cache / f"{stage}.pt")
