"""F: compares the picked runtime with diffusers in float32, for the same seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from backend.engine.protocols import Pixels
from backend.model.measure.fidelity import LOWEST_DB, median_psnr
from bench.figures import difference_of
from bench.rows import Row
from bench.subject import Subject
from training import evaluate, judge
from training import prompts as fixed_prompts
from training.pictures import to_tensor
from training.prompts import Prompt
from training.sprites import Sprites
from training.stages import CPU, Recipe

GUIDANCE_SCALE = 7.5  # the default of diffusers' pipeline
SCHEDULER = "dpmpp_2m"
MARGIN = 0.01  # largest difference of an unchanged score


def faithful(subject: Subject, folder: str, rounds: int, count: int) -> Row:
    """Median PSNR over the evaluation's prompts, and the judge's scores of both.

    For a picture close to a tie the smallest difference changes the judge's answer, in either
    direction. So a score counts as unchanged if the 95 % interval of its difference, over pairs of
    pictures with the same seed, is within `MARGIN`.

    Args:
        folder: the subject's model, in diffusers layout.
        rounds: number of seeds per prompt.
        count: number of prompts.
    """
    prompts = _prompts(rounds, count)
    ours = [_ours(subject, prompt) for prompt in prompts]
    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    theirs = [_theirs(pipeline, prompt) for prompt in prompts]
    decibels = median_psnr(ours, theirs)
    our_hits, their_hits = _hits(prompts, ours, theirs)
    differences = [difference_of(*pair) for pair in zip(our_hits, their_hits, strict=True)]
    return Row(
        "F",
        f"median PSNR against float32 diffusers, {len(prompts)} pictures; thing named first / "
        "among five",
        f"≥ {LOWEST_DB:.0f} dB; unchanged, within {MARGIN:.0%}",
        f"{decibels:.1f} dB; {_shares(our_hits)}, by diffusers {_shares(their_hits)}: "
        f"{' / '.join(map(str, differences))}",
        decibels >= LOWEST_DB
        and all(-MARGIN <= found.low <= found.high <= MARGIN for found in differences),
        details={"ours": our_hits, "diffusers": their_hits},
    )


Hits = list[list[bool]]
"""Whether each picture's thing was named first, and among the first five: a list of each."""


def _prompts(rounds: int, count: int) -> list[Prompt]:
    fixed = fixed_prompts.read()
    return [
        replace(prompt, seed=prompt.seed + number * len(fixed))
        for number in range(rounds)
        for prompt in fixed[:count]
    ]


def _hits(prompts: Sequence[Prompt], *drawn: list[Pixels]) -> Iterator[Hits]:
    recipe = Recipe(CPU, torch.device("cpu"))
    sprites = Sprites(recipe.sprites.things, len(drawn[0][0]))
    model = judge.train(sprites, recipe.checkpoint("judge"), recipe.plan.judge)
    wanted = [prompt.scene.first.thing for prompt in prompts]
    for pictures in drawn:
        hits: Hits = judge.hits(model, judge.whole(to_tensor(pictures)), wanted).T.tolist()
        yield hits


def _shares(hits: Hits) -> str:
    return " / ".join(f"{fmean(column):.1%}" for column in hits)


def _ours(subject: Subject, prompt: Prompt) -> Pixels:
    params = subject.params(prompt.seed, evaluate.STEPS, GUIDANCE_SCALE, SCHEDULER)
    return subject.draw(replace(params, prompt=prompt.text))


def _theirs(pipeline: Any, prompt: Prompt) -> Pixels:
    generator = torch.Generator().manual_seed(prompt.seed)
    (image,) = pipeline(prompt.text, num_inference_steps=evaluate.STEPS, generator=generator).images
    return np.asarray(image)
