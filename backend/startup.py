"""Loads the models that the settings name: the slow part of the start."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from backend.config import Settings
from backend.engine.loading import Load, Loaded, Offer, OnProgress
from backend.engine.turns import Turns
from backend.errors import ModelFailed
from backend.heap import no_garbage_collection
from backend.model_list import ModelEntry, Named, read_model_list
from backend.upscale import Lanczos, Upscalers

if TYPE_CHECKING:
    import torch

LOADER = "backend.model.loader"  # importing it imports everything
DLL_MISSING = (126, 127)  # Windows' error numbers: the DLL, or a function in it


def offers(settings: Settings, turns: Turns) -> list[Offer]:
    """The models that LocalBackend may serve, the default first.

    Raises:
        ConfigError: the list of models is wrong.
    """
    if settings.models is None:
        return [Offer(loader(settings, turns=turns))]
    entries = read_model_list(settings.models)
    return [_offer(name, entry, settings, turns) for name, entry in entries.items()]


def _offer(name: str, entry: ModelEntry, common: Settings, turns: Turns) -> Offer:
    settings = entry.settings(common)

    def expected_bytes() -> int:
        from backend.model.loader import expected_bytes

        return expected_bytes(settings)

    return Offer(
        loader(settings, Named(name, entry), turns),
        name,
        entry.source,
        settings.limits,
        expected_bytes,
    )


def loader(settings: Settings, named: Named | None = None, turns: Turns | None = None) -> Load:
    """The function with which LocalBackend loads one model.

    Args:
        settings: source, device and the like.
        named: the model's entry in the list of models, if there is one.
        turns: of the engines on the same device.
    """

    def load(on_progress: OnProgress) -> Loaded:
        on_progress("Importing torch.")
        _quieten_imports()
        # Importing torch and diffusers takes seconds; the port must be open before that.
        _postpone("scipy.stats")
        with _no_garbage(), _unneeded("torch._dynamo"), naming_missing_runtime():
            from backend.model.devices import visible_gpus
            from backend.model.loader import load_model
            from backend.model.measure.costs import Costs
            from backend.model.memory import models_budget, release

        model = load_model(settings, on_progress, named, turns)
        costs = Costs(model, settings)
        return Loaded(
            model,
            costs.model,
            costs.calibrate,
            costs.keep,
            release,
            visible_gpus(),
            model.runtime.num_bytes,
            models_budget(settings, model.runtime.device),
        )

    return load


def upscalers(settings: Settings) -> Upscalers:
    """The methods to enlarge pictures; nothing is loaded before the first is used."""
    if settings.upscaler_dir is None:
        return Lanczos()
    from backend.model.upscalers.upscalers import Upscalers as Networks

    return Networks(settings.upscaler_dir, lambda: _device(settings))


def _device(settings: Settings) -> torch.device:
    from backend.model.devices import pick_device

    return pick_device(settings)


def check(settings: Settings) -> bool:
    """Compare the runtimes; returns whether the picked one matches the reference."""
    _quieten_imports()
    from backend.model.loader import quieten_libraries
    from backend.model.measure.check import check

    quieten_libraries()
    return check(settings, print)


def _quieten_imports() -> None:
    """Both warn on stderr, while being imported, that torchvision is missing: it is not needed."""
    for library in ("TRANSFORMERS", "DIFFUSERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")


@contextmanager
def naming_missing_runtime() -> Iterator[None]:
    """Name what torch needs on Windows and no wheel contains.

    Raises:
        ModelFailed: a DLL is missing.
    """
    try:
        yield
    except OSError as error:
        if getattr(error, "winerror", None) not in DLL_MISSING:
            raise
        raise ModelFailed(
            "torch can't be loaded because a DLL is missing: install the Microsoft Visual C++ "
            "Redistributable from https://aka.ms/vs/17/release/vc_redist.x64.exe."
        ) from error


@contextmanager
def _unneeded(module: str) -> Iterator[None]:
    """Make `module` appear missing, so that imports skip it.

    diffusers imports torch._dynamo to mark layers for torch.compile. That takes a second, and
    we don't use torch.compile.
    """
    is_absent = module not in sys.modules
    if is_absent:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if is_absent:
            del sys.modules[module]


class _Postponed(ModuleType):
    """Stands for a module until something in that is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # inspect looks for these in all modules
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def _postpone(module: str) -> None:
    """Import `module` when it is used, not when it is imported.

    diffusers imports scipy.stats for beta sigmas. That takes a second, and few models use them.
    """
    sys.modules.setdefault(module, _Postponed(module))


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Leave out of garbage collection, for good, what is imported.

    What is frozen is never collected, so later loads must not freeze the models that there are.
    """
    if LOADER in sys.modules:
        yield
        return
    with no_garbage_collection():
        yield
        gc.freeze()
