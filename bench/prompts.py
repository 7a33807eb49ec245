"""What all servers are asked to draw."""

from __future__ import annotations


def prompt(number: int) -> str:
    """Another one for every number, so that no text is encoded only once."""
    return f"a red apple and {number} pears"
