"""A request with every default filled in (`GenerationParams`), and what it is checked against."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from backend import param_checks
from backend.errors import Violation
from backend.prompt_syntax import PromptSyntax
from backend.source_picture import (
    DEFAULT_UPSCALE_STRENGTH,
    MAX_PICTURE_BYTES,
    MAX_PICTURE_PIXELS,
    SourcePicture,
    denoising_steps,
)

if TYPE_CHECKING:
    from backend.abilities import Abilities

DEFAULT_GUIDANCE_SCALE = 7.5
DEFAULT_NUM_INFERENCE_STEPS = 50
MAX_SEED = 2**53 - 1
MAX_TEXT_CHARACTERS = 2000


class ImageFormat(enum.Enum):
    """File format of the images; the value is Pillow's name for it."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WEBP"

    @property
    def mime_type(self) -> str:
        return f"image/{self.value.lower()}"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for requests. Sizes are in pixels."""

    min_size: int = 64
    max_size: int = 2048
    size_multiple: int = 8
    max_pixels: int = 1024 * 1024
    max_num_inference_steps: int = 150
    max_num_images: int = 10
    max_prompt_characters: int = MAX_TEXT_CHARACTERS
    max_negative_prompt_characters: int = MAX_TEXT_CHARACTERS
    max_guidance_scale: float = 50.0
    max_seed: int = MAX_SEED
    max_picture_bytes: int = MAX_PICTURE_BYTES
    max_picture_pixels: int = MAX_PICTURE_PIXELS


@dataclass(frozen=True, slots=True)
class Lora:
    """A low-rank adapter and its weight, -2 to 2."""

    name: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA that can be applied to the model, and the trigger words named in its file."""

    name: str
    trigger_words: tuple[str, ...] = ()


class ModelState(enum.Enum):
    """Whether a model is in memory; values as in the proto file."""

    AVAILABLE = 1  # not in memory: the next request loads it
    LOADING = 2
    LOADED = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that was measured of a model, in words for people."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A served model. What only its files tell is empty or 0 until it was loaded once.

    `message`: for people, what it is being loaded from or why it failed. `note`: for people, why
    `auto` picked this model. `default_loras` are applied unless a request names them itself.
    """

    name: str
    source: str = ""
    revision: str = ""
    num_parameters: int = 0
    native_height: int = 0
    native_width: int = 0
    size_multiple: int = 8
    default_scheduler: str = ""
    schedulers: tuple[str, ...] = ()
    device: str = ""
    dtype: str = ""
    runtime: str = ""
    runtime_reason: str = ""
    default_num_inference_steps: int = DEFAULT_NUM_INFERENCE_STEPS
    default_guidance_scale: float = DEFAULT_GUIDANCE_SCALE
    default_loras: tuple[Lora, ...] = ()
    num_text_layers: int = 1
    adapters: tuple[Adapter, ...] = ()
    embeddings: tuple[str, ...] = ()
    refused_adapters: Mapping[str, str] = field(default_factory=dict, compare=False)
    state: ModelState = ModelState.LOADED
    message: str = ""
    limits: Limits = Limits()
    note: str = ""
    abilities: Abilities | None = field(default=None, repr=False, compare=False)
    license: str = ""
    figures: tuple[Figure, ...] = field(default=(), repr=False)

    @property
    def loaded(self) -> bool:
        """Whether it is in memory."""
        return self.state is ModelState.LOADED

    @property
    def loras(self) -> tuple[str, ...]:
        """Names for `Lora.name`."""
        return tuple(adapter.name for adapter in self.adapters)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationParams:
    """One request with all defaults and the seed filled in. Units: see `text2image.proto`.

    `upscaled`: height and width of the second pass, None without one.
    """

    prompt: str
    height: int
    width: int
    guidance_scale: float
    num_inference_steps: int
    seed: int
    scheduler: str
    model: str
    negative_prompt: str = ""
    num_images: int = 1
    output_format: ImageFormat = ImageFormat.PNG
    preview_interval: int = 0
    loras: tuple[Lora, ...] = ()
    init_image: SourcePicture | None = None
    mask: SourcePicture | None = None
    strength: float = 1.0
    prompt_syntax: PromptSyntax = PromptSyntax.PLAIN
    clip_skip: int = 1
    upscale: float = 1.0
    upscale_strength: float = DEFAULT_UPSCALE_STRENGTH
    upscaled: tuple[int, int] | None = None

    def second_pass(self, picture: SourcePicture) -> GenerationParams:
        """What is drawn of the first pass's `picture`, which is already enlarged."""
        assert self.upscaled is not None
        height, width = self.upscaled
        return replace(
            self,
            height=height,
            width=width,
            init_image=picture,
            strength=self.upscale_strength,
            upscaled=None,
        )

    @property
    def final_size(self) -> tuple[int, int]:
        """Height and width of the finished pictures."""
        return self.upscaled or (self.height, self.width)

    @property
    def num_steps(self) -> int:
        """Steps that are run, of both passes."""
        if self.upscaled is None:
            return self.num_denoising_steps
        second = denoising_steps(self.num_inference_steps, self.upscale_strength)
        return self.num_denoising_steps + second

    @property
    def num_denoising_steps(self) -> int:
        """Steps to run in this pass: with an init_image the last of `num_inference_steps`."""
        if self.init_image is None:
            return self.num_inference_steps
        return denoising_steps(self.num_inference_steps, self.strength)

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether an unconditional row is computed, as in diffusers."""
        return self.guidance_scale > 1.0

    def violations(self, limits: Limits, model: ModelInfo) -> list[Violation]:
        """All violations of `limits` and of `model`, one per field."""
        return param_checks.violations(self, limits, model)
