"""A request before (`Draft`) and after filling in defaults (`GenerationParams`), and its checks."""

from __future__ import annotations

import enum
import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from backend.errors import Violation
from backend.prompt_syntax import MAX_WEIGHT, PromptSyntax, heaviest, take_loras
from backend.source_picture import (
    DEFAULT_MASKED_STRENGTH,
    DEFAULT_STRENGTH,
    DEFAULT_UPSCALE_STRENGTH,
    MAX_PICTURE_BYTES,
    MAX_PICTURE_PIXELS,
    MAX_UPSCALE,
    NO_SOURCES,
    SourcePicture,
    Sources,
    denoising_steps,
    strength_violations,
    upscaled_size,
)

if TYPE_CHECKING:
    from backend.abilities import Abilities

MAX_SEED = 2**53 - 1
MAX_TEXT_CHARACTERS = 2000
RANDOM_SEED = -1
MAX_LORAS = 16
SHOWN_LORAS = 20  # in an error
DEFAULT_GUIDANCE_SCALE = 7.5
DEFAULT_NUM_INFERENCE_STEPS = 50
FILE_OVERHEAD_BYTES = 4096
REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


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


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A served model.

    `loaded`: in memory now; otherwise the next request loads it. `note`: for people, why `auto`
    picked this model.
    """

    name: str
    source: str
    revision: str
    num_parameters: int
    native_height: int
    native_width: int
    size_multiple: int
    default_scheduler: str
    schedulers: tuple[str, ...]
    device: str
    dtype: str
    runtime: str
    runtime_reason: str
    num_text_layers: int = 1
    adapters: tuple[Adapter, ...] = ()
    embeddings: tuple[str, ...] = ()
    refused_adapters: Mapping[str, str] = field(default_factory=dict, compare=False)
    loaded: bool = True
    note: str = ""
    abilities: Abilities | None = field(default=None, repr=False, compare=False)

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
        return [
            *_check_texts(self, limits),
            *_check_size("height", self.height, limits),
            *_check_size("width", self.width, limits),
            *_check_pixels(self, limits),
            *_check_numbers(self, limits, model),
            *_check_scheduler(self, model),
            *_check_loras(self, model),
            *_check_strengths(self),
            *_check_upscale(self, limits),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A request as received; None: the caller left the choice to us.

    `is_named`: the caller chose the request_id; otherwise it was generated.
    `max_answer_bytes`: set if all images must fit into one message.
    `init_image` and `mask`: files, until `backend.picture_reader` turns them into `sources`.
    `early_violations`: found before the parameters are resolved.
    """

    request_id: str
    is_named: bool
    prompt: str
    height: int | None = None
    width: int | None = None
    guidance_scale: float | None = None
    num_inference_steps: int | None = None
    negative_prompt: str = ""
    seed: int | None = None
    num_images: int | None = None
    scheduler: str = ""
    model: str = ""
    output_format: ImageFormat = ImageFormat.PNG
    preview_interval: int | None = None
    loras: tuple[Lora, ...] = ()
    init_image: bytes = field(default=b"", repr=False)
    mask: bytes = field(default=b"", repr=False)
    strength: float | None = None
    upscale: float | None = None
    upscale_strength: float | None = None
    sources: Sources = NO_SOURCES
    prompt_syntax: PromptSyntax = PromptSyntax.PLAIN
    clip_skip: int | None = None
    max_answer_bytes: int | None = None
    early_violations: tuple[Violation, ...] = ()

    def resolve(self, model: ModelInfo, client: str) -> GenerationParams:
        """Fill in everything missing: the model's and the documented defaults, and a seed."""
        prompt, loras = self.resolve_loras()
        height = _given(self.height, model.native_height)
        width = _given(self.width, model.native_width)
        upscale = round(_given(self.upscale, 1.0), 6)
        return GenerationParams(
            prompt=prompt,
            negative_prompt=self.negative_prompt.strip(),
            height=height,
            width=width,
            guidance_scale=_given(self.guidance_scale, DEFAULT_GUIDANCE_SCALE),
            num_inference_steps=_given(self.num_inference_steps, DEFAULT_NUM_INFERENCE_STEPS),
            seed=self._resolve_seed(client),
            num_images=_given(self.num_images, 1),
            scheduler=self.scheduler or model.default_scheduler,
            model=self.model or model.name,
            output_format=self.output_format,
            preview_interval=_given(self.preview_interval, 0),
            loras=loras,
            prompt_syntax=self.prompt_syntax,
            clip_skip=_given(self.clip_skip, 1),
            init_image=self.sources.init_image,
            mask=self.sources.mask,
            strength=self._resolve_strength(),
            upscale=upscale,
            upscale_strength=round(_given(self.upscale_strength, DEFAULT_UPSCALE_STRENGTH), 6),
            upscaled=upscaled_size(height, width, upscale, model.size_multiple),
        )

    def violations(self, params: GenerationParams) -> list[Violation]:
        """Violations of the request itself, in addition to those of its resolved `params`."""
        return [*self.early_violations, *self._check_request_id(), *self._check_answer(params)]

    def resolve_loras(self) -> tuple[str, tuple[Lora, ...]]:
        """The prompt without LoRA tags, and all LoRAs."""
        prompt = self.prompt.strip()
        if self.prompt_syntax is PromptSyntax.PLAIN:
            return prompt, self.loras
        prompt, tags = take_loras(prompt)
        return prompt, (*self.loras, *(Lora(tag.name, tag.scale) for tag in tags))

    def _resolve_seed(self, client: str) -> int:
        """The given seed, or a hash below 2**32 that is the same for a retry with the same id."""
        if self.seed is not None and self.seed != RANDOM_SEED:
            return self.seed
        digest = hashlib.sha256(f"{client}\0{self.request_id}".encode(errors="replace")).digest()
        return int.from_bytes(digest[:4])

    def _resolve_strength(self) -> float:
        if self.strength is not None:
            return round(self.strength, 6)  # 32 bits on the wire: 0.7 of 10 steps are 7
        if self.sources.init_image is None:
            return 1.0
        return DEFAULT_STRENGTH if self.sources.mask is None else DEFAULT_MASKED_STRENGTH

    def _check_request_id(self) -> list[Violation]:
        if REQUEST_ID.fullmatch(self.request_id):
            return []
        return [Violation("request_id", "1 to 64 characters of [A-Za-z0-9_-].", "MALFORMED")]

    def _check_answer(self, params: GenerationParams) -> list[Violation]:
        num_bytes = params.num_images * _max_file_bytes(params)
        if self.max_answer_bytes is None or num_bytes <= self.max_answer_bytes:
            return []
        text = (
            "Pictures of this number and size may not fit into one answer of "
            f"{self.max_answer_bytes} bytes: use StreamGenerateImage."
        )
        return [Violation("num_images", text, "ANSWER_TOO_LARGE")]


def _max_file_bytes(params: GenerationParams) -> int:
    """Largest size one image adds to an answer: a PNG of noise with its texts, plus the texts.

    A character takes at most 4 bytes as UTF-8 (in the file and in the message) and 6 as JSON.
    """
    height, width = params.final_size
    pixels = height * (3 * width + 1)  # each line starts with a filter byte
    texts = (params.prompt, params.negative_prompt)
    characters = sum(min(len(text), MAX_TEXT_CHARACTERS) for text in texts)
    return pixels + pixels // 1000 + (4 + 4 + 6) * characters + FILE_OVERHEAD_BYTES


N = TypeVar("N", int, float)


def _given(value: N | None, default: N) -> N:
    return default if value is None else value


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
