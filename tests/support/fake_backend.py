"""`python -m backend` with a model that paints one colour: the real servers, without torch.

FAKE_STEP_S: seconds that a step takes.
FAKE_LOSS: the prompt at which it loses its device.
"""

from __future__ import annotations

import os
import sys
import time
from unittest import mock

from backend import __main__ as product
from backend.config import Settings
from backend.engine.loading import Offer
from backend.engine.turns import Turns
from tests.support.fakes import FakeModel, loads

STEP_S = float(os.environ.get("FAKE_STEP_S", "0"))


def offers(settings: Settings, turns: Turns) -> list[Offer]:
    """What stands in for the models that the settings name."""
    fails_in = {os.environ.get("FAKE_LOSS", ""): "lost"}
    return [Offer(loads(FakeModel(fails_in=fails_in, on_step=lambda: time.sleep(STEP_S))))]


if __name__ == "__main__":
    with mock.patch.object(product, "offers", offers):
        sys.exit(product.main([]))
