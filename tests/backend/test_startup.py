"""What loading a model imports, and when; what it leaves to the garbage collection."""

from __future__ import annotations

import gc
import subprocess
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


IMPORTS_SCHEDULERS = """
import sys
from backend.startup import _postpone
_postpone("scipy.stats")
import inspect
from diffusers import EulerDiscreteScheduler
inspect.getmodule(inspect.currentframe())
assert "scipy.stats._stats_py" not in sys.modules
betas = EulerDiscreteScheduler(use_beta_sigmas=True)
betas.set_timesteps(4)
assert "scipy.stats._stats_py" in sys.modules
from scipy.stats import beta
from scipy.stats._continuous_distns import beta_gen
assert isinstance(beta, beta_gen)
print(*betas.timesteps.tolist())
"""


def test_statistics_are_imported_when_they_are_used() -> None:
    found = subprocess.run(
        [sys.executable, "-c", IMPORTS_SCHEDULERS], capture_output=True, text=True, check=True
    ).stdout
    from diffusers import EulerDiscreteScheduler

    betas = EulerDiscreteScheduler(use_beta_sigmas=True)
    betas.set_timesteps(4)
    assert [float(t) for t in found.split()] == betas.timesteps.tolist()
