"""The tools' names, descriptions and argument schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp.types import Tool, ToolAnnotations

from text2image.types import GenerationOptions, ImageFormat

Json = dict[str, Any]

# The tools' names of our options, where they differ.
OPTIONS = {"steps": "num_inference_steps", "format": "output_format"}
FORMATS = {"png": ImageFormat.PNG, "jpeg": ImageFormat.JPEG, "webp": ImageFormat.WEBP}


def _integer(text: str, **bounds: int) -> Json:
    return {"type": "integer", "description": text, **bounds}


def _text(text: str) -> Json:
    return {"type": "string", "description": text}


PICTURE: Json = {
    "prompt": _text("What the picture should show."),
    "negative_prompt": _text("What it should not show."),
    "width": _integer("In pixels. Default: what the model was trained for; see list_models."),
    "height": _integer("In pixels; as width."),
    "steps": _integer("Denoising steps. Fewer are faster, more are finer. Default 50.", minimum=1),
    "guidance_scale": {
        "type": "number",
        "description": "How closely to follow the prompt, 0 to 50. Default 7.5.",
    },
    "seed": _integer("The same seed makes the same picture. Default: drawn at random.", minimum=-1),
    "num_images": _integer("How many pictures, with seeds that follow each other. Default 1."),
    "scheduler": _text("Noise scheduler; see list_models. Default: the model's own."),
    "model": _text("See list_models. Default: the first."),
    "format": {"type": "string", "enum": list(FORMATS), "description": "Default png."},
}
EDITED: Json = {
    "image": _text(
        "The picture to start from: the address (uri) of one that was made here, or a PNG, JPEG or "
        "WebP file in base64."
    ),
    "mask": _text(
        "What of it is drawn anew: white is, black stays. Like image, and of the same size. "
        "Default: all of it."
    ),
    "strength": {
        "type": "number",
        "description": "How far to depart from the picture: above 0, to 1. Default 0.8; with a "
        "mask 1.",
    },
}
ALL = PICTURE | EDITED
FILES = {"image": "init_image", "mask": "mask"}
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
MAKES = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)

GENERATE_IMAGE = Tool(
    name="generate_image",
    title="Generate pictures",
    description="Make pictures from a text with a diffusion model. Answers the pictures, their "
    "seeds, and what of the text the model could not follow. May take minutes on a CPU.",
    input_schema={"type": "object", "properties": PICTURE, "required": ["prompt"]},
    annotations=MAKES,
)
EDIT_IMAGE = Tool(
    name="edit_image",
    title="Edit a picture",
    description="Change a picture by a text: all of it, or where a mask is white. Answers as "
    "generate_image does.",
    input_schema={"type": "object", "properties": ALL, "required": ["image", "prompt"]},
    annotations=MAKES,
)
LIST_MODELS = Tool(
    name="list_models",
    title="List models",
    description="The models that generate_image can use: their sizes, noise schedulers, LoRAs, "
    "and the limits of a request.",
    input_schema={"type": "object", "properties": {}},
    annotations=READS,
)
GET_STATUS = Tool(
    name="get_status",
    title="Get status",
    description="Whether the service can make pictures now, how long its queue is, and how long "
    "pictures took lately.",
    input_schema={"type": "object", "properties": {}},
    annotations=READS,
)
TOOLS = (GENERATE_IMAGE, EDIT_IMAGE, LIST_MODELS, GET_STATUS)


def options_of(arguments: Mapping[str, Any]) -> GenerationOptions:
    """Convert an agent's arguments to the client library's options.

    Unknown arguments are ignored, since agents invent some. 512.0 becomes 512.
    """
    found: Json = {}
    for name, value in arguments.items():
        if name not in ALL or name in ("prompt", *FILES) or value is None:
            continue
        if ALL[name]["type"] == "integer" and isinstance(value, float) and value.is_integer():
            value = int(value)
        found[OPTIONS.get(name, name)] = FORMATS.get(value, value) if name == "format" else value
    return found  # type: ignore[return-value]  # the library checks it
