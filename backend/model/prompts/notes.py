"""Warnings about a request's prompts."""

from __future__ import annotations

from collections.abc import Iterator

from backend.abilities import Abilities
from backend.domain import GenerationWarning
from backend.model.prompts.chunks import MAX_CHUNKS, Chunker
from backend.params import GenerationParams
from backend.prompt_syntax import PromptSyntax, plain_text, unsupported

NO_EFFECT = GenerationWarning(
    "negative_prompt",
    "The negative prompt has no effect: guidance_scale must be above 1 for that.",
    "NO_EFFECT",
)


class PromptNotes:
    """Creates the warnings. Cheap and thread-safe."""

    def __init__(self, chunker: Chunker) -> None:
        self._chunker = chunker

    def warnings(
        self, params: GenerationParams, abilities: Abilities | None
    ) -> Iterator[GenerationWarning]:
        """Warnings about truncation, unsupported syntax, unknown words and unused prompts."""
        negative_counts = params.do_classifier_free_guidance or not params.negative_prompt
        texts = {"prompt": params.prompt}
        if negative_counts:
            texts["negative_prompt"] = params.negative_prompt
        for field, text in texts.items():
            yield from self._cut(field, text, params.prompt_syntax)
        if params.prompt_syntax is PromptSyntax.A1111:
            for field, text in texts.items():
                yield from _unsupported(field, text)
        if abilities is not None:
            yield from abilities.warnings(plain_text(params.prompt, params.prompt_syntax))
        if not negative_counts:
            yield NO_EFFECT

    def _cut(self, field: str, text: str, syntax: PromptSyntax) -> Iterator[GenerationWarning]:
        unread = self._chunker.split(text, syntax).unread
        if not unread:
            return
        num_read = self._chunker.window * (1 if syntax is PromptSyntax.PLAIN else MAX_CHUNKS)
        said = f"Only the first {num_read} tokens of the {field.replace('_', ' ')} were read; "
        yield GenerationWarning(field, f"{said}this was cut: “{unread}”.", "PROMPT_CUT")


def _unsupported(field: str, text: str) -> Iterator[GenerationWarning]:
    for excerpt, name in unsupported(text):
        said = f"“{excerpt}” was read as text: {name} isn't supported."
        yield GenerationWarning(field, said, "UNSUPPORTED_SYNTAX", excerpt)
