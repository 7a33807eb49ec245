"""The tools' results: a text for the agent, and the same facts as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from text2image.status import ServiceStatus
from text2image.types import GenerationInfo, Image

Json = dict[str, Any]
Told = tuple[str, Json]


def picture_of(image: Image, address: str) -> Json:
    found: Json = {
        "seed": image.seed,
        "width": image.width,
        "height": image.height,
        "mime_type": image.mime_type,
    }
    return found | ({"uri": address} if address else {})


def says(images: list[Image], info: GenerationInfo, withheld: int) -> str:
    """A few lines about how the images were made."""
    params, first = info.params, images[0]
    seeds = ", ".join(str(image.seed) for image in images)
    lines = [
        f"Made by {info.model} at {first.width}x{first.height} in {params.num_inference_steps} "
        f"steps of {params.scheduler}, guidance {params.guidance_scale:g}. Seed {seeds}.",
        *(f"{warning.field}: {warning.description}" for warning in info.warnings),
    ]
    if withheld:
        lines.append(f"The safety checker withheld {withheld} more.")
    return "\n".join(lines)


def models_of(status: ServiceStatus) -> Told:
    models = [
        {
            "name": model.name,
            "width": model.native_width,
            "height": model.native_height,
            "scheduler": model.default_scheduler,
            "device": model.device,
        }
        for model in status.models
    ]
    found: Json = {
        "models": models,
        "schedulers": list(status.schedulers),
        "loras": list(status.loras),
        "limits": asdict(status.limits),
    }
    return json.dumps(found, ensure_ascii=False), found


def state_of(status: ServiceStatus) -> Told:
    found: Json = {
        "state": status.state.value,
        "message": status.message,
        "version": status.version,
        "queued": status.queue.queued,
        "running": status.queue.running,
        "capacity": status.queue.capacity,
        "median_seconds": round(status.latency.p50_ms / 1000, 3),
    }
    return json.dumps(found, ensure_ascii=False), found
