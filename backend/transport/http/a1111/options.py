"""GET and POST /sdapi/v1/options: the few options of A1111 that have an effect here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backend.transport.http.a1111.problem import not_found
from backend.transport.http.problem import Json, bad_fields
from proto import text2image_pb2 as pb

CHECKPOINT, FORMAT = "sd_model_checkpoint", "samples_format"
CLIP_SKIP = "CLIP_stop_at_last_layers"
MAX_CLIP_SKIP = 12  # as A1111's slider
FORMATS = {
    "png": pb.IMAGE_FORMAT_PNG,
    "jpg": pb.IMAGE_FORMAT_JPEG,
    "jpeg": pb.IMAGE_FORMAT_JPEG,
    "webp": pb.IMAGE_FORMAT_WEBP,
}
HASH_CHARACTERS = 10

Model = pb.GetStatusResponse.Model


def current(options: Mapping[str, Any], models: Sequence[Model]) -> Json:
    """A caller's options, with defaults for those never set.

    Without forge_preset, because SillyTavern would assume that we are Forge.
    """
    model = find_model(options.get(CHECKPOINT), models)
    return {
        CHECKPOINT: title_of(model) if model else None,
        "sd_checkpoint_hash": model.revision if model else None,
        FORMAT: "png",
        "sd_vae": "Automatic",
        CLIP_SKIP: 1,
        "live_previews_enable": True,
    } | {name: options[name] for name in (FORMAT, CLIP_SKIP) if name in options}


def accept(given: Mapping[str, Any], models: Sequence[Model]) -> Json:
    """The options that we support, checked; others are ignored.

    Raises:
        Problem: an unknown model or file format.
    """
    accepted: Json = {}
    if given.get(CHECKPOINT):
        model = find_model(given[CHECKPOINT], models)
        if model is None:
            known = ", ".join(title_of(one) for one in models)
            raise not_found(f"Model not found. There are: {known}.")
        accepted[CHECKPOINT] = model.name
    if given.get(FORMAT):
        if str(given[FORMAT]).lower() not in FORMATS:
            raise bad_fields([(FORMAT, f"Must be one of {', '.join(FORMATS)}.", "UNSUPPORTED")])
        accepted[FORMAT] = str(given[FORMAT]).lower()
    if given.get(CLIP_SKIP):
        layer = given[CLIP_SKIP]
        is_number = isinstance(layer, (int, float)) and 1 <= layer <= MAX_CLIP_SKIP
        if not is_number or layer != int(layer):
            text = f"Must be 1 to {MAX_CLIP_SKIP}."
            raise bad_fields([(CLIP_SKIP, text, "OUT_OF_RANGE")])
        accepted[CLIP_SKIP] = int(layer)
    return accepted


def find_model(name: object, models: Sequence[Model]) -> Model | None:
    """Find a model by title, name, file name or hash; the first if no name is given."""
    if not name:
        return next(iter(models), None)
    text = str(name).removesuffix(".safetensors")
    for model in models:
        if text in (title_of(model), model.name, model.revision[:HASH_CHARACTERS]):
            return model
    return None


def title_of(model: Model) -> str:
    """A checkpoint's title in A1111: its name and the beginning of its hash."""
    short = model.revision[:HASH_CHARACTERS]
    return f"{model.name} [{short}]" if short else model.name
