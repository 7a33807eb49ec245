"""What is said where no settings can be read."""

from __future__ import annotations


class UnreadableRecipe(ValueError):
    """The text or file holds no settings; the message says so to a person."""
