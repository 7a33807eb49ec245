"""What the service is asked for a job."""

from __future__ import annotations

import client
from ui.job import Job

PREVIEWS = 12  # approximate number per picture
DEADLINE_S = 3600.0


def stream_of(service: client.Text2ImageClient, job: Job) -> client.GenerationStream:
    """The stream of the job's events."""
    recipe, start = job.recipe, job.start
    return service.stream(
        recipe.prompt,
        timeout=DEADLINE_S,
        client=job.owner,
        negative_prompt=recipe.negative_prompt or None,
        height=recipe.height or None,
        width=recipe.width or None,
        num_inference_steps=recipe.steps,
        guidance_scale=recipe.guidance,
        seed=recipe.seed if job.seed is None else job.seed,
        num_images=recipe.count,
        scheduler=recipe.scheduler or None,
        model=recipe.model or None,
        prompt_syntax=client.PromptSyntax.A1111,
        preview_interval=max(1, recipe.steps // PREVIEWS),
        init_image=start.data if start else None,
        strength=start.strength if start else None,
        mask=start.mask if start else None,
        clip_skip=recipe.clip_skip if recipe.clip_skip > 1 else None,
        upscale=recipe.upscale if recipe.upscale > 1 else None,
        upscale_strength=recipe.upscale_strength if recipe.upscale > 1 else None,
    )
