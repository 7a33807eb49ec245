"""What the service is asked for a job."""

from __future__ import annotations

import client
from ui.job import Job
from ui.recipe import Recipe

PREVIEWS = 12  # approximate number per picture
DEADLINE_S = 3600.0


def stream_of(service: client.Text2ImageClient, job: Job) -> client.GenerationStream:
    """The stream of the job's events."""
    options, start = options_of(job.recipe, PREVIEWS), job.start
    options["prompt_syntax"] = client.PromptSyntax.A1111
    if job.seed is not None:
        options["seed"] = job.seed
    if start is not None:
        options |= {"init_image": start.data, "strength": start.strength, "mask": start.mask}
    return service.stream(job.recipe.prompt, timeout=DEADLINE_S, client=job.owner, **options)


def options_of(recipe: Recipe, previews: int) -> client.GenerationOptions:
    """The recipe as the service's parameters, with about so many previews per picture."""
    is_twice = recipe.upscale > 1
    return {
        "negative_prompt": recipe.negative_prompt or None,
        "width": recipe.width or None,
        "height": recipe.height or None,
        "num_inference_steps": recipe.steps,
        "guidance_scale": recipe.guidance,
        "seed": recipe.seed,
        "num_images": recipe.count,
        "scheduler": recipe.scheduler or None,
        "model": recipe.model or None,
        "preview_interval": max(1, recipe.steps // previews),
        "clip_skip": recipe.clip_skip if recipe.clip_skip > 1 else None,
        "upscale": recipe.upscale if is_twice else None,
        "upscale_strength": recipe.upscale_strength if is_twice else None,
    }
