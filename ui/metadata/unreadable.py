"""The error for texts and files without readable settings."""

from __future__ import annotations


class UnreadableRecipe(ValueError):
    """The text or file has no readable settings; the message is for people."""
