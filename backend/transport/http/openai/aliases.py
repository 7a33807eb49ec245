"""Model names that programs send by default, whichever model is served."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


class Aliases:
    """Names of the default model.

    Args:
        names: exact names and patterns such as `dall-e-*`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)

    @property
    def exact(self) -> tuple[str, ...]:
        """The names without wildcards, for lists of models."""
        return tuple(name for name in self._names if not set(name) & set("*?["))

    def covers(self, model: str) -> bool:
        """Whether the name stands for the default model."""
        return any(fnmatchcase(model, name) for name in self._names)
