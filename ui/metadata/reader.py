"""Reads settings from texts and picture files, or says in a sentence why it can't."""

from __future__ import annotations

from collections.abc import Mapping

from ui.metadata.container import MAX_TEXT_BYTES, file_texts
from ui.metadata.exif import OURS, USER_COMMENT
from ui.metadata.infotext import is_infotext, parse_infotext
from ui.metadata.json_settings import parse_json
from ui.metadata.unreadable import UnreadableRecipe
from ui.recipe import Recipe

# Names of texts that may contain settings: exact ones first, node graphs last.
PLACES = (
    OURS,
    "parameters",
    USER_COMMENT,
    "invokeai_metadata",
    "sd-metadata",  # InvokeAI 2
    "Comment",  # NovelAI, Fooocus
    "ImageDescription",
    "prompt",  # ComfyUI
)
# Marks of programs whose settings we can't read.
TRACES = {
    "Dream": "InvokeAI 1 wrote this picture: its settings can't be read, those of InvokeAI 3 can.",
    "use_stable_diffusion_model": "Easy Diffusion wrote this picture in a form that can't be read.",
    "Stable Diffusion model": "Easy Diffusion wrote this picture in a form that can't be read.",
}
PROGRAMS = ("NovelAI", "Draw Things", "Fooocus", "InvokeAI", "Easy Diffusion", "ComfyUI")


def parse(text: str) -> tuple[Recipe, list[str]]:
    """Parse the service's JSON, other programs' JSON, or AUTOMATIC1111's infotext.

    Returns:
        The recipe, and the names that were not understood.

    Raises:
        UnreadableRecipe: the text has none of these formats.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise UnreadableRecipe(f"This text is longer than {MAX_TEXT_BYTES >> 20} MB.")
    text = text.replace("\0", "").strip()
    if not text.startswith("{"):
        return parse_infotext(text)
    try:
        return parse_json(text)
    except UnreadableRecipe:
        if not is_infotext(text):  # a prompt may also start with a brace
            raise
        return parse_infotext(text)


def read_file(data: bytes) -> tuple[Recipe, list[str]]:
    """Read the settings in a picture file; returns the same as `parse`.

    Raises:
        UnreadableRecipe: it is not a picture, or has no settings.
    """
    texts = file_texts(data)
    refusal = None
    for place in PLACES:
        if place in texts:
            try:
                return parse(texts[place])
            except UnreadableRecipe as error:
                refusal = refusal or error
    raise UnreadableRecipe(_explain(texts, refusal))


def _explain(texts: Mapping[str, str], refusal: UnreadableRecipe | None) -> str:
    for name, sentence in TRACES.items():
        if name in texts:
            return sentence
    for program in PROGRAMS:
        if any(program in text for text in texts.values()):
            return f"{program} wrote this picture, in a form that can't be read here."
    return str(refusal or "This picture carries no settings.")
