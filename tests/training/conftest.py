"""Sprites of four things drawn here."""

import pytest

from tests.training.drawn_things import draw_things
from training.sprites import Sprites


@pytest.fixture(scope="session")
def sprites(tmp_path_factory: pytest.TempPathFactory) -> Sprites:
    return Sprites(draw_things(tmp_path_factory.mktemp("things")))
