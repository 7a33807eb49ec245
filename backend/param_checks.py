"""What the limits and the model do not allow of a request, one violation per field."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from backend.errors import Violation
from backend.prompt_syntax import MAX_WEIGHT, PromptSyntax, heaviest
from backend.source_picture import MAX_UPSCALE, strength_violations

if TYPE_CHECKING:
    from backend.params import GenerationParams, Limits, ModelInfo

MAX_LORAS = 16
SHOWN_LORAS = 20  # in an error


def violations(params: GenerationParams, limits: Limits, model: ModelInfo) -> list[Violation]:
    """All violations of `limits` and of `model`, one per field."""
    return [
        *_check_texts(params, limits),
        *_check_size("height", params.height, limits),
        *_check_size("width", params.width, limits),
        *_check_pixels(params, limits),
        *_check_numbers(params, limits, model),
        *_check_scheduler(params, model),
        *_check_loras(params, model),
        *_check_strengths(params),
        *_check_upscale(params, limits),
    ]


def _check_texts(params: GenerationParams, limits: Limits) -> list[Violation]:
    found = []
    if not params.prompt.strip():
        found.append(Violation("prompt", "Say what the picture should show.", "REQUIRED"))
    elif len(params.prompt) > limits.max_prompt_characters:
        text = f"At most {limits.max_prompt_characters} characters; these are {len(params.prompt)}."
        found.append(Violation("prompt", text, "TOO_LONG"))
    if len(params.negative_prompt) > limits.max_negative_prompt_characters:
        text = (
            f"At most {limits.max_negative_prompt_characters} characters; "
            f"these are {len(params.negative_prompt)}."
        )
        found.append(Violation("negative_prompt", text, "TOO_LONG"))
    if params.prompt_syntax is PromptSyntax.A1111 and not found:
        found += _check_weights(params)
    return found


def _check_weights(params: GenerationParams) -> list[Violation]:
    text = f"Words weigh {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}, brackets in brackets included."
    return [
        Violation(name, text, "OUT_OF_RANGE")
        for name in ("prompt", "negative_prompt")
        if heaviest(getattr(params, name)) > MAX_WEIGHT
    ]


def _check_size(name: str, size: int, limits: Limits) -> list[Violation]:
    if not limits.min_size <= size <= limits.max_size:
        text = f"Must be {limits.min_size} to {limits.max_size} pixels, not {size}."
        return [Violation(name, text, "OUT_OF_RANGE")]
    if size % limits.size_multiple:
        below = size - size % limits.size_multiple
        text = (
            f"Must be a multiple of {limits.size_multiple}, not {size}: "
            f"try {below} or {below + limits.size_multiple}."
        )
        return [Violation(name, text, "NOT_A_MULTIPLE")]
    return []


def _check_pixels(params: GenerationParams, limits: Limits) -> list[Violation]:
    if params.height * params.width <= limits.max_pixels:
        return []
    if max(params.height, params.width) > limits.max_size:
        return []  # already refused for height or width
    text = (
        f"height x width must be at most {limits.max_pixels} pixels, "
        f"not {params.height * params.width}."
    )
    return [Violation("height", text, "TOO_MANY_PIXELS")]


def _check_strengths(params: GenerationParams) -> list[Violation]:
    steps = params.num_inference_steps
    return [
        *strength_violations(
            "strength", params.strength, steps, is_used=params.init_image is not None
        ),
        *strength_violations(
            "upscale_strength", params.upscale_strength, steps, is_used=params.upscaled is not None
        ),
    ]


def _check_upscale(params: GenerationParams, limits: Limits) -> list[Violation]:
    if params.upscale != 1 and params.upscaled is None:
        return [Violation("upscale", f"Must be 1 to {MAX_UPSCALE:g}.", "OUT_OF_RANGE")]
    if params.upscaled is None:
        return []
    if params.mask is not None:
        text = "Can't be combined with a mask: enlarge the result afterwards."
        return [Violation("upscale", text, "UNSUPPORTED")]
    height, width = params.upscaled
    if max(height, width) <= limits.max_size and height * width <= limits.max_pixels:
        return []
    text = (
        f"The larger picture may have {limits.max_size} pixels a side and {limits.max_pixels} in "
        f"all, not {width} × {height}."
    )
    return [Violation("upscale", text, "TOO_MANY_PIXELS")]


def _check_numbers(params: GenerationParams, limits: Limits, model: ModelInfo) -> list[Violation]:
    found = []
    scale = params.guidance_scale
    if not math.isfinite(scale) or not 0.0 <= scale <= limits.max_guidance_scale:
        text = f"Must be a finite number from 0 to {limits.max_guidance_scale:g}."
        found.append(Violation("guidance_scale", text, "OUT_OF_RANGE"))
    for name, number, low, high in (
        ("num_inference_steps", params.num_inference_steps, 1, limits.max_num_inference_steps),
        ("num_images", params.num_images, 1, limits.max_num_images),
        ("seed", params.seed, 0, limits.max_seed),
        ("preview_interval", params.preview_interval, 0, 2**31 - 1),
        ("clip_skip", params.clip_skip, 1, model.num_text_layers),
    ):
        if not low <= number <= high:
            text = f"Must be {low} to {high}, not {number}."
            found.append(Violation(name, text, "OUT_OF_RANGE"))
    last_seed = params.seed + params.num_images - 1
    if 0 <= params.seed <= limits.max_seed < last_seed:
        text = f"seed + num_images - 1 must be at most {limits.max_seed}."
        found.append(Violation("seed", text, "OUT_OF_RANGE"))
    return found


def _check_scheduler(params: GenerationParams, model: ModelInfo) -> list[Violation]:
    if params.scheduler in model.schedulers:
        return []
    text = f"Must be one of {', '.join(model.schedulers)}."
    return [Violation("scheduler", text, "UNKNOWN")]


def _check_loras(params: GenerationParams, model: ModelInfo) -> list[Violation]:
    if len(params.loras) > MAX_LORAS:
        return [Violation("loras", f"At most {MAX_LORAS}.", "TOO_MANY")]
    found = []
    names = [lora.name for lora in params.loras]
    for index, lora in enumerate(params.loras):
        if lora.name in model.refused_adapters:
            text = model.refused_adapters[lora.name]
            found.append(Violation(f"loras[{index}].name", text, "UNSUPPORTED"))
        elif lora.name not in model.loras:
            text = _offered(model.loras)
            found.append(Violation(f"loras[{index}].name", text, "UNKNOWN"))
        elif lora.name in names[:index]:
            found.append(Violation(f"loras[{index}].name", "It is named twice.", "DUPLICATE"))
        if not math.isfinite(lora.scale) or abs(lora.scale) > 2:
            found.append(Violation(f"loras[{index}].scale", "Must be -2 to 2.", "OUT_OF_RANGE"))
    return found


def _offered(loras: tuple[str, ...]) -> str:
    if not loras:
        return "No LoRA is installed."
    more = f" and {len(loras) - SHOWN_LORAS} more" if len(loras) > SHOWN_LORAS else ""
    return f"Must be one of {', '.join(loras[:SHOWN_LORAS])}{more}."
