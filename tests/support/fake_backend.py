"""`python -m backend` with a model that paints one colour: the real servers, without torch."""

from __future__ import annotations

import sys
from unittest import mock

from backend import __main__ as product
from backend.config import Settings
from backend.engine.loading import Load
from tests.support.fakes import FakeModel, loads


def loader(settings: Settings) -> Load:
    """What stands in for the model's loader."""
    return loads(FakeModel())


if __name__ == "__main__":
    with mock.patch.object(product, "loader", loader):
        sys.exit(product.main([]))
