"""F: the runtime that was picked draws what diffusers draws in float32, from the same seeds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from backend.engine.protocols import Pixels
from backend.model.fidelity import LOWEST_DB, median_psnr
from tests.bench.rows import Row
from tests.bench.subject import Subject
from training import __main__ as recipe
from training import classifier, evaluate
from training.autoencoder import to_tensor

GUIDANCE_SCALE = 7.5  # the default of diffusers' pipeline
SCHEDULER = "dpmpp_2m"


def faithful(subject: Subject, folder: str, count: int) -> Row:
    """Median PSNR over `count` prompts of the evaluation, and what its classifier makes of both."""
    prompts = evaluate.read_prompts()[:count]
    ours = [_ours(subject, prompt) for prompt in prompts]
    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    theirs = [_theirs(pipeline, prompt) for prompt in prompts]
    sprites = recipe.load_sprites()
    judge = classifier.train(sprites, recipe.checkpoint("classifier"), recipe.JUDGED)
    row_of = {thing.label: row for row, thing in enumerate(sprites.things)}
    wanted = [row_of[prompt.thing] for prompt in prompts]
    scores = {
        name: classifier.accuracy(judge, to_tensor(pictures), wanted)
        for name, pictures in (("ours", ours), ("diffusers", theirs))
    }
    decibels = median_psnr(ours, theirs)
    told = {name: f"{first:.1%} / {five:.1%}" for name, (first, five) in scores.items()}
    return Row(
        "F",
        f"median PSNR against float32 diffusers, {count} pictures; thing named first / among five",
        f"≥ {LOWEST_DB:.0f} dB; unchanged",
        f"{decibels:.1f} dB; {told['ours']}, by diffusers {told['diffusers']}",
        decibels >= LOWEST_DB and scores["ours"] == scores["diffusers"],
        details={"scores": scores},
    )


def _ours(subject: Subject, prompt: evaluate.Prompt) -> Pixels:
    params = subject.params(prompt.seed, evaluate.STEPS, GUIDANCE_SCALE, SCHEDULER)
    return subject.draw(replace(params, prompt=prompt.text))


def _theirs(pipeline: Any, prompt: evaluate.Prompt) -> Pixels:
    generator = torch.Generator().manual_seed(prompt.seed)
    (image,) = pipeline(prompt.text, num_inference_steps=evaluate.STEPS, generator=generator).images
    return np.asarray(image)
