"""Requests, events and images: plain frozen dataclasses, no protobuf types.

Sizes are in pixels, durations carry their unit in the name. The fields are documented in
`proto/text2image.proto`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypedDict


class ImageFormat(enum.Enum):
    """File format of the images; the value is its usual file extension."""

    PNG = "png"
    JPEG = "jpg"
    WEBP = "webp"


class PromptSyntax(enum.Enum):
    """How prompts are read: PLAIN, every sign is text; A1111, with weights in brackets."""

    PLAIN = "plain"
    A1111 = "a1111"


class Exactness(enum.Enum):
    """Whether batching may change an image: not at all (CERTIFIED), or in its last bits."""

    UNKNOWN = "unknown"
    CERTIFIED = "certified"
    TOLERANT = "tolerant"


@dataclass(frozen=True, slots=True)
class Lora:
    """A low-rank adapter and its weight, -2 to 2."""

    name: str
    scale: float = 1.0


class GenerationOptions(TypedDict, total=False):
    """All parameters except the prompt. Missing or None: the service's default."""

    negative_prompt: str | None
    height: int | None
    width: int | None
    num_inference_steps: int | None
    guidance_scale: float | None
    # 0 to 2^53 - 1; None or -1: random; the answer contains it.
    seed: int | None
    # Picture i uses seed + i.
    num_images: int | None
    # Names from ServiceStatus.schedulers and ServiceStatus.models.
    scheduler: str | None
    model: str | None
    output_format: ImageFormat | None
    # A preview every n steps; 0 or None: none.
    preview_interval: int | None
    loras: tuple[Lora, ...]
    # Initial picture and mask as files; see the proto file for their limits.
    init_image: bytes | None
    mask: bytes | None
    strength: float | None
    prompt_syntax: PromptSyntax | None
    # The text encoder's layer, counted from its end: 1, the last.
    clip_skip: int | None
    # Draw it a second time, so many times as large.
    upscale: float | None
    upscale_strength: float | None


@dataclass(frozen=True, slots=True)
class Image:
    """One encoded image. `data` is empty if the safety checker withheld it."""

    data: bytes
    mime_type: str
    width: int
    height: int
    seed: int
    nsfw_detected: bool = False


@dataclass(frozen=True, slots=True)
class Upscaled:
    """An enlarged picture, and the method that was used."""

    image: Image
    upscaler: str


@dataclass(frozen=True, slots=True)
class Queued:
    """Position in the queue (0 = next) and the predicted wait until the first step.

    `message` is set while the request's model is being loaded: what is being done for that.
    """

    position: int
    estimated_wait_ms: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps done, the predicted time until all images are ready, and maybe a small JPEG."""

    step: int
    num_steps: int
    eta_ms: int
    preview: Image | None = None


@dataclass(frozen=True, slots=True)
class FinishedImage:
    """One finished image; `index` is 0 to num_images - 1."""

    index: int
    image: Image


@dataclass(frozen=True, slots=True)
class GenerationParams:
    """A request with all defaults and the random seed filled in."""

    prompt: str
    negative_prompt: str
    height: int
    width: int
    num_inference_steps: int
    guidance_scale: float
    seed: int
    num_images: int
    scheduler: str
    model: str
    output_format: ImageFormat
    loras: tuple[Lora, ...] = ()
    strength: float | None = None  # None: not from a picture
    prompt_syntax: PromptSyntax = PromptSyntax.PLAIN
    clip_skip: int = 1
    upscale: float | None = None  # None: no second pass
    upscale_strength: float | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """Time spent in each stage of a request, in milliseconds."""

    queued_ms: float = 0.0
    encode_ms: float = 0.0
    denoise_ms: float = 0.0
    decode_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class GenerationWarning:
    """Something in the request that had no or only partial effect, such as a truncated prompt.

    `excerpt` is the part of the field concerned, `alternatives` are replacements for it.
    """

    field: str
    description: str
    reason: str
    excerpt: str = ""
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerationInfo:
    """Everything needed to reproduce the images, and the timings."""

    request_id: str
    params: GenerationParams
    model: str
    model_revision: str
    device: str
    dtype: str
    runtime: str
    exactness: Exactness
    timings: Timings
    warnings: tuple[GenerationWarning, ...] = ()
    init_image_sha256: str = ""
    mask_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The last event of a successful generation."""

    info: GenerationInfo


Event = Queued | Progress | FinishedImage | Done


@dataclass(frozen=True, slots=True)
class Generation:
    """A finished generation: the images in the order of their seeds, and how they were made."""

    images: tuple[Image, ...]
    info: GenerationInfo
