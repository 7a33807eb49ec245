"""Encodes scenes to latents once and saves them in shards, so that training needs no pictures.

More shards mean more scenes of each thing; a stage uses all shards that exist when it starts.
"""

import logging
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.vae import EncoderTiny
from torch import Tensor

from training import arithmetic, paths
from training.pictures import to_tensor
from training.scenes import Placed, Scene, Scenes
from training.sprites import Sprites

log = logging.getLogger(__name__)

SHARD = 8192
"""Scenes in one shard."""
CHUNK = 64


@dataclass(frozen=True)
class Encoded:
    """Scenes and their latents (n, c, 8, 8), bfloat16."""

    scenes: list[Scene]
    latents: Tensor

    def __len__(self) -> int:
        return len(self.scenes)


def random_scenes(sprites: Sprites, count: int, seed: int) -> list[Scene]:
    """Training scenes in which each thing is equally frequent; deterministic for a seed."""
    scenes = Scenes(sprites.things, random.Random(seed))
    return [scenes.training(index % len(sprites.things)) for index in range(count)]


@torch.inference_mode()
def encode(encoder: EncoderTiny, sprites: Sprites, scenes: list[Scene]) -> Encoded:
    parts = []
    for start in range(0, len(scenes), CHUNK):
        images = to_tensor([sprites.render(scene) for scene in scenes[start : start + CHUNK]])
        with arithmetic.fastest():
            parts.append(encoder(images).bfloat16())
    return Encoded(scenes, torch.cat(parts))


def scene_of(state: dict[str, Any]) -> Scene:
    """The inverse of `asdict`."""
    things = tuple(Placed(**placed) for placed in state["things"])
    return Scene(**{**state, "things": things})


def write_shards(encoder: EncoderTiny, sprites: Sprites, count: int, folder: Path) -> None:
    """Write those of the first `count` shards that don't exist yet."""
    folder.mkdir(exist_ok=True)
    for seed in range(count):
        file = folder / f"{seed:03}.pt"
        if not file.exists():
            encoded = encode(encoder, sprites, random_scenes(sprites, SHARD, seed))
            scenes = [asdict(scene) for scene in encoded.scenes]
            paths.save_atomically({"scenes": scenes, "latents": encoded.latents}, file)
            log.info("latents: shard %d of %d", seed + 1, count)


def read_shards(folder: Path) -> Encoded:
    scenes, latents = [], []
    for file in sorted(folder.glob("*.pt")):
        state = torch.load(file, weights_only=True)
        scenes += [scene_of(scene) for scene in state["scenes"]]
        latents.append(state["latents"])
    return Encoded(scenes, torch.cat(latents))
