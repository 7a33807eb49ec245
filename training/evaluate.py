"""Evaluates the shipped folder on prompts and seeds that were fixed beforehand."""

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import nn

from training import abilities, arithmetic, captions, judge, measures, strangers
from training.autoencoder import decibels
from training.latents import random_scenes
from training.pictures import Pixels, to_tensor
from training.prompts import Prompt
from training.scenes import Scene
from training.sprites import Sprites, contact_sheet

log = logging.getLogger(__name__)

STEPS = 25
SEEDS = 8
VARIED = ("a cat", "a car", "an apple", "a robot", "a house")
"""Prompts whose pictures over SEEDS seeds are compared."""
SEEN = 20_000
"""Training scenes among which the nearest is sought."""
SHEET_SIDE = 128
"""Side in pixels of a picture on the card's sheets."""


@dataclass(frozen=True)
class Artist:
    """Generates pictures with the pipeline's defaults."""

    pipe: StableDiffusionPipeline

    def draw(self, texts: list[str], seeds: list[int], batch: int = 16) -> list[Pixels]:
        """Generate pictures at default guidance and size, each with its own seed."""
        self.pipe.set_progress_bar_config(disable=True)
        pictures: list[Pixels] = []
        for start in range(0, len(texts), batch):
            some = slice(start, start + batch)
            generators = [torch.Generator().manual_seed(seed) for seed in seeds[some]]
            with arithmetic.fastest():
                images = self.pipe(
                    texts[some], num_inference_steps=STEPS, generator=generators
                ).images
            pictures += [np.asarray(image) for image in images]
        return pictures


def single_things(
    artist: Artist, model: nn.Module, sprites: Sprites, prompts: list[Prompt]
) -> dict[str, float]:
    """Measures on prompts for one thing."""
    scenes = [prompt.scene for prompt in prompts]
    pictures = artist.draw([p.text for p in prompts], [p.seed for p in prompts])
    rows = [scene.first.thing for scene in scenes]
    first, five = judge.accuracy(model, judge.whole(to_tensor(pictures)), rows)
    asked = [sprites.render(scene) for scene in scenes]
    own_first, own_five = judge.accuracy(model, judge.whole(to_tensor(asked)), rows)
    background, tint = measures.colours_right(pictures, scenes, sprites)
    seen = random_scenes(sprites, SEEN, seed=0)
    return {
        "prompts": len(prompts),
        "picture_db": float(np.mean(measures.psnr(pictures, scenes, sprites))),
        "sharpness": measures.edge_energy(pictures) / measures.edge_energy(asked),
        "object_first": first,
        "object_in_five": five,
        "judge_first_on_renderings": own_first,
        "judge_in_five_on_renderings": own_five,
        "background_right": background,
        "object_colour_right": tint,
        **measures.nearer_to_unseen(pictures, scenes, seen, sprites),
    }


def two_things(
    artist: Artist, model: nn.Module, sprites: Sprites, prompts: list[Prompt]
) -> dict[str, float]:
    """Measures on prompts for two things."""
    scenes = [prompt.scene for prompt in prompts]
    pictures = artist.draw([p.text for p in prompts], [p.seed for p in prompts])
    return {
        "pairs": len(prompts),
        "two_things_db": float(np.mean(measures.psnr(pictures, scenes, sprites))),
        "both_named": both_named(model, pictures, scenes),
        "judge_both_on_renderings": both_named(model, [sprites.render(s) for s in scenes], scenes),
    }


def both_named(model: nn.Module, pictures: list[Pixels], scenes: list[Scene]) -> float:
    """Share of pictures in which the judge's top answer is right for both halves."""
    images, right = to_tensor(pictures), torch.ones(len(pictures), dtype=torch.bool)
    for position in range(2):
        placed = scenes[0].things[position]
        part = judge.part(images, (placed.side, placed.x, placed.y))
        right &= judge.hits(model, part, [scene.things[position].thing for scene in scenes])[:, 0]
    return float(right.float().mean())


def things_drawn(artist: Artist, model: nn.Module, sprites: Sprites) -> int:
    """How many things, prompted by label, are the judge's top answer."""
    texts = [f"{captions.article(t.label)} {t.label.lower()}" for t in sprites.things]
    pictures = artist.draw(texts, list(range(len(texts))))
    hits = judge.hits(model, judge.whole(to_tensor(pictures)), list(range(len(texts))))
    return int(hits[:, 0].sum())


def strangers_answered(artist: Artist, model: nn.Module, sprites: Sprites) -> list[str]:
    """Prompts of strangers.json that got neither a right picture nor a warning."""
    asked, known = strangers.read(), abilities.abilities(sprites.things)
    pictures = artist.draw([s.prompt for s in asked], [strangers.SEED] * len(asked))
    wrong = []
    for stranger, picture in zip(asked, pictures, strict=True):
        warnings = strangers.warned(stranger.prompt, known, artist.pipe.tokenizer)
        seen = strangers.shown(model, picture, sprites.things)
        if not strangers.is_fine(stranger, seen, warnings):
            wrong.append(stranger.prompt)
    return wrong


@torch.inference_mode()
def reconstruction(pipe: StableDiffusionPipeline, sprites: Sprites, scenes: list[Scene]) -> float:
    """PSNR in dB of encoding and decoding held-out renderings."""
    pictures = [sprites.render(scene) for scene in scenes]
    restored = torch.cat([pipe.vae(part).sample for part in to_tensor(pictures).split(8)])
    return float(decibels(restored, to_tensor(pictures)).mean())


def seconds_per_picture(artist: Artist, repeats: int = 3) -> float:
    """The fastest of several pictures after warm-up, in torch; the service is faster."""
    times = []
    for seed in range(repeats):
        start = time.perf_counter()
        artist.draw(["a cat"], [seed])
        times.append(time.perf_counter() - start)
    return min(times)


def sheet(artist: Artist, texts: list[str], seeds: list[int], file: Path) -> list[Pixels]:
    """Generate the prompts' pictures and save them as a contact sheet with eight columns."""
    pictures = artist.draw(texts, seeds)
    whole = contact_sheet(pictures, 8)
    scale = SHEET_SIDE / pictures[0].shape[0]
    small = whole.resize((round(whole.width * scale), round(whole.height * scale)))
    small.quantize(256).save(file, optimize=True)
    return pictures


def score(
    pipe: StableDiffusionPipeline,
    model: nn.Module,
    sprites: Sprites,
    prompts: list[Prompt],
    folder: Path,
) -> dict[str, Any]:
    """Compute all numbers of the model card, and write its contact sheets."""
    artist = Artist(pipe)
    singles = [prompt for prompt in prompts if prompt.scene.layout == "single"]
    pairs = [prompt for prompt in prompts if prompt.scene.layout == "pair"]
    examples = abilities.EXAMPLES
    sheet(artist, [e[0] for e in examples], [e[1] for e in examples], folder / "sheet.png")
    texts, seeds = [text for text in VARIED for _ in range(SEEDS)], list(range(SEEDS)) * len(VARIED)
    varied = sheet(artist, texts, seeds, folder / "variety.png")
    wrong = strangers_answered(artist, model, sprites)
    return {
        **single_things(artist, model, sprites, singles),
        **two_things(artist, model, sprites, pairs),
        "things": len(sprites.things),
        "things_drawn": things_drawn(artist, model, sprites),
        "strangers": len(strangers.read()),
        "strangers_right": len(strangers.read()) - len(wrong),
        "strangers_wrong": wrong,
        "autoencoder_db": reconstruction(pipe, sprites, [prompt.scene for prompt in singles]),
        "diversity": measures.diversity(varied, SEEDS),
        "seconds_torch": seconds_per_picture(artist),
    }


def report(numbers: dict[str, Any], folder: Path) -> None:
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in numbers.items()}
    (folder / "evaluation.json").write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
