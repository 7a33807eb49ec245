"""The soak, shortened, with a model that paints one colour."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.held import Held
from bench.soak import CALLS, Found, growth, soak

SECONDS = 8.0


@pytest.mark.e2e
def test_callers_of_all_kinds_leave_nothing_behind(tmp_path: Path) -> None:
    found = soak(tmp_path, SECONDS, "tests.support.fake_backend", rest_s=1.0)
    assert found.problems == [], str(found)
    kinds = {answer.partition(":")[0] for answer in found.answers}
    assert kinds == set(CALLS)
    wrong = [answer for answer in found.answers if answer.endswith((": 500", ": 503", "INTERNAL"))]
    assert wrong == []


def test_what_grows_is_named() -> None:
    found = Found(before=Held(100_000_000, 20, 8), after=Held(140_000_000, 21, 12))
    assert growth(found) == [
        "resident_bytes grew from 100,000,000 to 140,000,000",
        "descriptors grew from 20 to 21",
    ]
