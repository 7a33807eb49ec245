"""A request as its caller sent it, before defaults are filled in."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TypeVar

from backend.errors import Violation
from backend.params import (
    MAX_TEXT_CHARACTERS,
    GenerationParams,
    ImageFormat,
    Lora,
    ModelInfo,
)
from backend.prompt_syntax import PromptSyntax, take_loras
from backend.source_picture import (
    DEFAULT_MASKED_STRENGTH,
    DEFAULT_STRENGTH,
    DEFAULT_UPSCALE_STRENGTH,
    NO_SOURCES,
    Sources,
    upscaled_size,
)

RANDOM_SEED = -1
FILE_OVERHEAD_BYTES = 4096
REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


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
            guidance_scale=_given(self.guidance_scale, model.default_guidance_scale),
            num_inference_steps=_given(self.num_inference_steps, model.default_num_inference_steps),
            seed=self._resolve_seed(client),
            num_images=_given(self.num_images, 1),
            scheduler=self.scheduler or model.default_scheduler,
            model=self.model or model.name,
            output_format=self.output_format,
            preview_interval=_given(self.preview_interval, 0),
            loras=_with_defaults(loras, model),
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


def _with_defaults(loras: tuple[Lora, ...], model: ModelInfo) -> tuple[Lora, ...]:
    named = {lora.name for lora in loras}
    return (*loras, *(lora for lora in model.default_loras if lora.name not in named))


N = TypeVar("N", int, float)


def _given(value: N | None, default: N) -> N:
    return default if value is None else value
