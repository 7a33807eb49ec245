"""The prompts for all servers."""

from __future__ import annotations


def prompt(number: int) -> str:
    """A different prompt for every number, so that no server benefits from caching embeddings."""
    return f"a red apple and {number} pears"
