"""The `info` of A1111's answer: facts about the images, as JSON in a string."""

from __future__ import annotations

import time
from collections.abc import Sequence

from backend.images import HIRES_UPSCALER, SAMPLERS
from backend.transport.http.a1111.infotext import read_infotext
from backend.transport.http.a1111.options import HASH_CHARACTERS, find_model
from backend.transport.http.problem import Json
from proto import text2image_pb2 as pb


def info_of(
    images: Sequence[pb.Image],
    done: pb.GenerationInfo | None,
    message: pb.GenerateImageRequest,
    status: pb.GetStatusResponse,
    warnings: Sequence[str] = (),
) -> Json:
    """Build it from `done`; if every round was interrupted (None), from the request `message`.

    `warnings`: what was found before the service saw the request.
    """
    used = done.request if done is not None else message
    model = find_model(done.model if done is not None else message.model, status.models)
    sampler, schedule = SAMPLERS.get(used.scheduler, (used.scheduler, None))
    seeds = [image.seed for image in images]
    found = done.warnings if done is not None else ()
    return {
        "prompt": used.prompt,
        "all_prompts": [used.prompt] * len(images),
        "negative_prompt": used.negative_prompt,
        "all_negative_prompts": [used.negative_prompt] * len(images),
        "seed": seeds[0] if seeds else -1,
        "all_seeds": seeds,
        "subseed": -1,
        "all_subseeds": [-1] * len(images),
        "subseed_strength": 0,
        "width": images[0].width if images else used.width,
        "height": images[0].height if images else used.height,
        "sampler_name": sampler,
        "scheduler": schedule or "Automatic",
        "cfg_scale": _short(used.guidance_scale),
        "steps": used.num_inference_steps,
        "batch_size": max(1, used.num_images),
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": model.name if model else "",
        "sd_model_hash": model.revision[:HASH_CHARACTERS] if model else "",
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": _strength(used),
        "extra_generation_params": _hires(used),
        "index_of_first_image": 0,
        "infotexts": [read_infotext(image.data) for image in images],
        "styles": [],
        "job_timestamp": time.strftime("%Y%m%d%H%M%S"),
        "clip_skip": max(1, used.clip_skip),
        "is_using_inpainting_conditioning": False,
        "version": f"text2image {status.version}",
        "warnings": [*warnings, *(warning.description for warning in found)],
    }


def _strength(used: pb.GenerateImageRequest) -> float | None:
    for name in ("strength", "upscale_strength"):
        if used.HasField(name):
            return _short(getattr(used, name))
    return None


def _hires(used: pb.GenerateImageRequest) -> Json:
    """As in the infotext."""
    if not used.HasField("upscale"):
        return {}
    return {"Hires upscale": _short(used.upscale), "Hires upscaler": HIRES_UPSCALER}


def _short(number: float) -> float:
    """A number that had 32 bits on the wire, without the digits that those made up."""
    return float(f"{number:.6g}")
