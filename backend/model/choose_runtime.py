"""Chooses who runs the networks: by measurement, among the faithful, and then stays with it."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from backend.config import Settings
from backend.errors import ModelFailed
from backend.model.checkpoint.components import Components
from backend.model.devices import machine
from backend.model.measure.fidelity import LOWEST_DB, draw, median_psnr, race, set_exam
from backend.model.pick import Pick, PickStore
from backend.model.runtime.eager import TorchRuntime
from backend.model.runtime.protocol import Runtime

logger = logging.getLogger(__name__)

OnProgress = Callable[[str], None]


class Choice(NamedTuple):
    """A runtime, and why it was picked."""

    runtime: Runtime
    reason: str


class Candidate(NamedTuple):
    """A runtime that could be picked; `name` is what is stored of it."""

    name: str
    build: Callable[[], Runtime]


class Wanted(NamedTuple):
    """What there is to choose from: components as read, and the dtype the settings ask for."""

    components: Components
    settings: Settings
    dtype: torch.dtype
    revision: str


def reading_dtype(settings: Settings, device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """The dtype to read weights in: float32 where they are converted or compared afterwards."""
    converts = settings.runtime in ("auto", "openvino") and device.type == "cpu"
    return torch.float32 if converts and has_openvino() else dtype


def choose_runtime(wanted: Wanted, on_progress: OnProgress) -> Choice:
    """The runtime that the settings name, or for `auto` the fastest faithful one.

    Raises:
        ModelFailed: it can't run here.
    """
    name, device = wanted.settings.runtime, wanted.components.device
    if name == "torch":
        return Choice(_torch(wanted), "RUNTIME=torch")
    if name == "compiled":
        from backend.model.runtime.compiled import CompiledRuntime

        return Choice(CompiledRuntime(_torch(wanted)), "RUNTIME=compiled")
    if name == "openvino":
        return Choice(_openvino_as_set(wanted), "RUNTIME=openvino")
    if device.type != "cpu":
        return Choice(_torch(wanted), f"the reference runtime; OpenVINO is not for {device.type}")
    if not has_openvino():
        return Choice(_torch(wanted), "the reference runtime; OpenVINO is not installed")
    return _pick(wanted, on_progress)


def has_openvino() -> bool:
    """Whether OpenVINO is installed and loads on this machine."""
    from backend.model.openvino.convert import import_openvino

    try:
        import_openvino()
    except ImportError:
        return False
    return True


def _pick(wanted: Wanted, on_progress: OnProgress) -> Choice:
    store = PickStore(wanted.settings.data_dir, _make(wanted))
    candidates = {candidate.name: candidate for candidate in _candidates(wanted)}
    stored = store.load()
    if stored is not None and stored.name in candidates:
        return Choice(candidates[stored.name].build(), stored.reason)
    on_progress("Comparing runtimes; this is done once")
    pick = _examine(wanted, list(candidates.values()), on_progress)
    try:
        store.save(pick)
    except OSError as error:
        logger.warning("the choice of runtime can't be kept: %s", error)
    return Choice(candidates[pick.name].build(), pick.reason)


def _candidates(wanted: Wanted) -> list[Candidate]:
    from backend.model.openvino.convert import precisions

    found = [
        Candidate(f"openvino {precision}", _openvino(wanted, precision))
        for precision in precisions()
        if wanted.dtype != torch.float32 or precision == "f32"
    ]
    return [*found, Candidate("torch", lambda: _torch(wanted))]


def _examine(wanted: Wanted, candidates: list[Candidate], on_progress: OnProgress) -> Pick:
    """Draw the same pictures with each: whoever is faithful and fastest is picked."""
    reference = TorchRuntime(wanted.components)
    exam = set_exam(wanted.components, reference)
    expected = draw(wanted.components, reference, exam)
    one = exam._replace(prompts=exam.prompts[:1])
    seconds: dict[str, float] = {}
    decibels: dict[str, float] = {}
    races: dict[str, Callable[[], object]] = {}
    told = []
    for candidate in candidates:
        on_progress(f"Comparing runtimes: {candidate.name}")
        try:
            runtime = _on_trial(wanted, candidate)
            draw(wanted.components, runtime, one)  # compiles
            started = time.perf_counter()
            pictures = draw(wanted.components, runtime, exam)
        except Exception as error:
            logger.warning("%s can't be used here: %s", candidate.name, error)
            told.append(f"{candidate.name} does not run here")
            continue
        seconds[candidate.name] = (time.perf_counter() - started) / len(pictures)
        decibels[candidate.name] = median_psnr(pictures, expected)
        races[candidate.name] = partial(draw, wanted.components, runtime, one)
    race(races, seconds)
    told += [f"{name} {seconds[name]:.2f} s at {decibels[name]:.0f} dB" for name in races]
    faithful = [name for name in races if decibels[name] >= LOWEST_DB]
    if not faithful:
        raise ModelFailed(f"No runtime draws what the reference draws: {'; '.join(told)}.")
    best = min(faithful, key=seconds.__getitem__)
    return Pick(best, f"fastest of those at {LOWEST_DB:.0f} dB or more: {'; '.join(told)}")


def _on_trial(wanted: Wanted, candidate: Candidate) -> Runtime:
    """The candidate, its weights apart from the reference's where they are others."""
    if candidate.name != "torch" or wanted.dtype == torch.float32:
        return candidate.build()
    apart = copy.deepcopy(wanted.components.networks)
    return _torch(wanted._replace(components=replace(wanted.components, read=lambda: apart)))


def _torch(wanted: Wanted) -> TorchRuntime:
    networks: tuple[torch.nn.Module, ...] = wanted.components.networks
    for network in networks:
        network.to(dtype=wanted.dtype)
    return TorchRuntime(wanted.components)


def _openvino(wanted: Wanted, precision: str) -> Callable[[], Runtime]:
    from backend.model.openvino.runtime import OpenVinoRuntime

    return lambda: OpenVinoRuntime(
        wanted.components,
        openvino_folder(wanted.settings.data_dir, wanted.revision),
        precision=precision,
        num_threads=torch.get_num_threads(),
    )


def _openvino_as_set(wanted: Wanted) -> Runtime:
    if not has_openvino():
        raise ModelFailed(
            "RUNTIME=openvino, but OpenVINO is not installed: pip install openvino, "
            "or set RUNTIME=auto."
        )
    if wanted.components.device.type != "cpu":
        raise ModelFailed("RUNTIME=openvino runs on a CPU: set DEVICE=cpu, or RUNTIME=auto.")
    from backend.model.openvino.convert import precisions

    wanted_precision = "f32" if wanted.dtype == torch.float32 else "bf16"
    if wanted_precision not in precisions():
        raise ModelFailed("This CPU has no bfloat16 arithmetic: set DTYPE=auto or float32.")
    return _openvino(wanted, wanted_precision)()


def openvino_folder(data_dir: Path, revision: str) -> Path:
    """Where a model's converted networks are kept: of one revision, converted in one way."""
    from backend.model.openvino.convert import version

    return data_dir / "openvino" / f"{revision}-{version()}"


def _make(wanted: Wanted) -> dict[str, str]:
    from backend.model.openvino.convert import version

    return {
        "machine": machine(wanted.components.device),
        "torch": torch.__version__,
        "openvino": version(),
        "dtype": str(wanted.dtype),
        "threads": str(torch.get_num_threads()),
        "revision": wanted.revision,
    }
