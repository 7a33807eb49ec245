"""A recipe: all parameters of a generation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import client

ASPECTS = {"1:1": 1.0, "3:2": 3 / 2, "2:3": 2 / 3, "16:9": 16 / 9, "9:16": 9 / 16}
SCALES = {"1×": 1.0, "1.5×": 1.5, "2×": 2.0}
MAX_UPSCALE = 4.0
MIN_STRENGTH = 0.05
QUALITIES = {"Draft": 15, "Standard": 30, "Fine": 50}


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the service offers and allows. The defaults stand in until it `is_known`."""

    min_size: int = 64
    max_size: int = 2048
    size_multiple: int = 8
    max_pixels: int = 1024 * 1024
    max_steps: int = 150
    max_images: int = 8
    max_prompt_characters: int = 2000
    max_negative_characters: int = 2000
    max_guidance: float = 50.0
    max_seed: int = 2**32 - 1
    native_width: int = 512
    native_height: int = 512
    models: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()
    default_scheduler: str = ""
    adapters: tuple[client.Adapter, ...] = ()  # LoRAs
    embeddings: tuple[str, ...] = ()
    num_text_layers: int = 1  # of the text encoder, for clip_skip
    is_known: bool = True
    model: client.Abilities | None = None  # what the first one declares
    default_steps: int = 0  # 0: the form's own
    default_guidance: float = 7.5
    others: tuple[tuple[str, Abilities], ...] = ()  # the models after the first, by name

    def of(self, model: str) -> Abilities:
        """The same for another model; for the first where there is none of that name."""
        return dict(self.others).get(model, self)

    def allows_size(self, width: int, height: int) -> bool:
        """Whether this size in pixels is allowed."""
        return (
            not _size_problem(width, self)
            and not _size_problem(height, self)
            and (width * height <= self.max_pixels)
        )

    def size_for(self, aspect: str, scale: float = 1.0) -> tuple[int, int]:
        """Width and height in pixels: the native area times scale², in the named proportions."""
        ratio = math.sqrt(ASPECTS[aspect] * self.native_height / self.native_width)
        width, height = self.native_width * ratio * scale, self.native_height / ratio * scale
        grow = max(1.0, self.min_size / min(width, height))
        return self._rounded(width * grow), self._rounded(height * grow)

    @property
    def trained_sizes(self) -> tuple[tuple[int, int], ...]:
        """Sizes (width, height) that the model declares to be good at; may be empty."""
        return self.model.sizes if self.model else ()

    def draws_well(self, width: int, height: int) -> bool:
        """Whether the model was trained for this size in pixels, or names no sizes."""
        return not self.trained_sizes or (width, height) in self.trained_sizes

    @property
    def trained_shapes(self) -> list[str]:
        """The named proportions among them."""
        return [name for name in ASPECTS if self.size_for(name) in self.trained_sizes]

    def _rounded(self, size: float) -> int:
        """Round to an eighth of the model's native size, if that is an allowed multiple."""
        eighth = min(self.native_width, self.native_height) // 8
        multiple = max(self.size_multiple, eighth - eighth % self.size_multiple)
        rounded = max(1, round(size / multiple)) * multiple
        return min(max(rounded, self.min_size), self.max_size)

    def scales(self, aspect: str) -> list[str]:
        """The names of the scales at which this aspect is within the limits."""
        return [n for n, scale in SCALES.items() if self.allows_size(*self.size_for(aspect, scale))]


UNKNOWN = Abilities(is_known=False)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One request. `seed` None: random; empty `scheduler` and `model`: the default.

    `clip_skip`, `upscale` and `upscale_strength` are those of `GenerateImageRequest`.
    A `width` and `height` of 0 mean the model's native size, if a link or file names no size or
    the service has not named it yet.
    """

    prompt: str = ""
    negative_prompt: str = ""
    width: int = 0
    height: int = 0
    steps: int = 30
    guidance: float = 7.5
    seed: int | None = None
    scheduler: str = ""
    model: str = ""
    count: int = 1
    clip_skip: int = 1
    strength: float | None = None  # if it began with a picture: how far it departed from that
    upscale: float = 1.0
    upscale_strength: float = 0.5

    @property
    def size_words(self) -> str:
        """The size as text for people."""
        return f"{self.width} × {self.height}" if self.width else "the model's own size"

    def with_seed(self, seed: int | None) -> Recipe:
        return replace(self, seed=seed)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The inverse of `to_dict`; unknown names are ignored."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def problems(recipe: Recipe, abilities: Abilities) -> dict[str, str]:
    """A sentence for each field that the service would refuse."""
    abilities = abilities.of(recipe.model)
    found = {
        "prompt": _prompt_problem(recipe.prompt, abilities),
        "negative_prompt": _negative_problem(recipe.negative_prompt, abilities),
        **_size_problems(recipe, abilities),
        "steps": _range_problem(recipe.steps, 1, abilities.max_steps),
        "count": _range_problem(recipe.count, 1, abilities.max_images),
        "guidance": _guidance_problem(recipe.guidance, abilities),
        "seed": _seed_problem(recipe, abilities),
        "scheduler": _name_problem(recipe.scheduler, abilities.schedulers),
        "model": _name_problem(recipe.model, abilities.models),
        "clip_skip": _range_problem(recipe.clip_skip, 1, abilities.num_text_layers),
        "upscale": _upscale_problem(recipe, abilities),
    }
    return {field: text for field, text in found.items() if text}


def fit(recipe: Recipe, abilities: Abilities) -> tuple[Recipe, list[str]]:
    """The recipe adjusted to the limits, and a sentence for every change."""
    abilities = abilities.of(recipe.model)
    if abilities.is_known and not (recipe.width and recipe.height):
        width, height = abilities.size_for("1:1")
        recipe = replace(recipe, width=width, height=height)
    fitted = replace(
        recipe,
        prompt=recipe.prompt[: abilities.max_prompt_characters],
        negative_prompt=recipe.negative_prompt[: abilities.max_negative_characters],
        steps=_clamped(recipe.steps, 1, abilities.max_steps),
        count=_clamped(recipe.count, 1, abilities.max_images),
        guidance=recipe.guidance if not _guidance_problem(recipe.guidance, abilities) else 7.5,
        seed=recipe.seed if not _seed_problem(recipe, abilities) else None,
        scheduler="" if _name_problem(recipe.scheduler, abilities.schedulers) else recipe.scheduler,
        model="" if _name_problem(recipe.model, abilities.models) else recipe.model,
        clip_skip=_clamped(recipe.clip_skip, 1, abilities.num_text_layers),
        strength=None if recipe.strength is None else _clamped_share(recipe.strength),
        upscale_strength=_clamped_share(recipe.upscale_strength),
    )
    if recipe.width and not abilities.allows_size(recipe.width, recipe.height):
        width, height = _nearest_size(recipe, abilities)
        fitted = replace(fitted, width=width, height=height)
    if _upscale_problem(fitted, abilities):
        fitted = replace(fitted, upscale=1.0)
    return fitted, _differences(recipe, fitted)


def _differences(before: Recipe, after: Recipe) -> list[str]:
    names = {"steps": "Steps", "count": "Pictures", "guidance": "Guidance", "seed": "Seed"}
    names |= {"clip_skip": "Clip skip", "upscale": "Second pass"}
    notes = []
    if (before.width, before.height) != (after.width, after.height):
        notes.append(f"Size {before.width} × {before.height} → {after.width} × {after.height}.")
    for field, label in names.items():
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            notes.append(f"{label} {old} → {'random' if new is None else new}.")
    for field, label in (("scheduler", "Noise scheduler"), ("model", "Model")):
        if getattr(before, field) != getattr(after, field):
            notes.append(f"{label} “{getattr(before, field)}” is not offered here.")
    if before.prompt != after.prompt or before.negative_prompt != after.negative_prompt:
        notes.append("The prompt was too long and has been cut.")
    return notes


def _nearest_size(recipe: Recipe, abilities: Abilities) -> tuple[int, int]:
    """An allowed size with about the same proportions."""
    ratio = math.log(max(recipe.width, 1) / max(recipe.height, 1))
    aspect = min(ASPECTS, key=lambda name: abs(math.log(ASPECTS[name]) - ratio))
    return abilities.size_for(aspect)


def _clamped_share(share: float) -> float:
    return min(max(share, MIN_STRENGTH), 1.0)


def _clamped(number: int, low: int, high: int) -> int:
    return min(max(number, low), high)


def _prompt_problem(prompt: str, abilities: Abilities) -> str:
    if not prompt.strip():
        return "Say what the picture should show."
    if len(prompt) > abilities.max_prompt_characters:
        return f"At most {abilities.max_prompt_characters:,} characters; these are {len(prompt):,}."
    return ""


def _negative_problem(text: str, abilities: Abilities) -> str:
    most = abilities.max_negative_characters
    if len(text) > most:
        return f"At most {most:,} characters; these are {len(text):,}."
    return ""


def _size_problems(recipe: Recipe, abilities: Abilities) -> dict[str, str]:
    if not recipe.width and not recipe.height:
        return {}
    height = _size_problem(recipe.height, abilities)
    return {
        "width": _size_problem(recipe.width, abilities),
        "height": height or _pixels_problem(recipe, abilities),
    }


def _size_problem(size: int, abilities: Abilities) -> str:
    if not abilities.min_size <= size <= abilities.max_size:
        return f"Must be {abilities.min_size} to {abilities.max_size} pixels."
    if size % abilities.size_multiple:
        return f"Must be a multiple of {abilities.size_multiple}."
    return ""


def _pixels_problem(recipe: Recipe, abilities: Abilities) -> str:
    if recipe.width * recipe.height > abilities.max_pixels:
        return f"Width × height must be at most {abilities.max_pixels:,} pixels."
    return ""


def _upscale_problem(recipe: Recipe, abilities: Abilities) -> str:
    if not 1 <= recipe.upscale <= MAX_UPSCALE:
        return f"Must be 1 to {MAX_UPSCALE:g}."
    if recipe.upscale == 1 or not recipe.width:
        return ""
    multiple = abilities.size_multiple
    sides = (recipe.width, recipe.height)
    width, height = (round(side * recipe.upscale / multiple) * multiple for side in sides)
    if abilities.allows_size(width, height):
        return ""
    return f"{width} × {height} pixels are more than the service draws."


def _range_problem(number: int, low: int, high: int) -> str:
    return "" if low <= number <= high else f"Must be {low} to {high}."


def _guidance_problem(guidance: float, abilities: Abilities) -> str:
    allowed = math.isfinite(guidance) and 0 <= guidance <= abilities.max_guidance
    return "" if allowed else f"Must be 0 to {abilities.max_guidance:g}."


def _seed_problem(recipe: Recipe, abilities: Abilities) -> str:
    if recipe.seed is None or 0 <= recipe.seed <= abilities.max_seed - recipe.count + 1:
        return ""
    return f"Must be 0 to {abilities.max_seed:,}."


def _name_problem(name: str, offered: tuple[str, ...]) -> str:
    if not name or not offered or name in offered:
        return ""
    return f"Must be one of {', '.join(offered)}."
