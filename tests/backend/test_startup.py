"""Loading a model leaves the models that there are to the garbage collection."""

from __future__ import annotations

import gc
import sys
from types import ModuleType

import pytest

from backend import startup


@pytest.mark.parametrize("is_first", [True, False])
def test_only_what_the_first_import_brings_is_frozen(
    monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    frozen: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))
    if is_first:
        monkeypatch.delitem(sys.modules, startup.LOADER, raising=False)
    else:
        monkeypatch.setitem(sys.modules, startup.LOADER, ModuleType(startup.LOADER))
    with startup._no_garbage():
        assert gc.isenabled() is not is_first
    assert gc.isenabled()
    assert frozen == ([True] if is_first else [])
