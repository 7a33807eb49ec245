"""Picks the runtime: the configured one, or OpenVINO on a CPU and torch elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from backend.config import Settings
from backend.errors import ModelFailed
from backend.model.checkpoint.components import Components
from backend.model.runtime.cuda_graphs import GraphRuntime
from backend.model.runtime.eager import TorchRuntime
from backend.model.runtime.protocol import Runtime

PRECISIONS = {"bf16": "bfloat16", "f32": "float32"}  # OpenVINO's names: ours


class Choice(NamedTuple):
    """A runtime, and one phrase that says why it was picked."""

    runtime: Runtime
    reason: str


class Wanted(NamedTuple):
    """What the choice depends on: loaded components, and the dtype the settings ask for."""

    components: Components
    settings: Settings
    dtype: torch.dtype
    revision: str


def reading_dtype(settings: Settings, device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """The dtype to read weights in: float32 if OpenVINO will convert them, else `dtype`."""
    converts = settings.runtime in ("auto", "openvino") and device.type == "cpu"
    return torch.float32 if converts and has_openvino() else dtype


def choose_runtime(wanted: Wanted) -> Choice:
    """Build the runtime that the settings name; `auto` is OpenVINO on a CPU, torch elsewhere.

    OpenVINO computes in the CPU's fastest native precision unless DTYPE=float32.
    `python -m backend --check` compares all runtimes on this machine.

    Raises:
        ModelFailed: the runtime can't run on this machine.
    """
    name, device = wanted.settings.runtime, wanted.components.device
    if name == "torch":
        return Choice(torch_runtime(wanted), "RUNTIME=torch")
    if name == "openvino":
        _check_openvino(wanted)
        return Choice(openvino_runtime(wanted, _precision(wanted)), "RUNTIME=openvino")
    if device.type != "cpu":
        return Choice(torch_runtime(wanted), f"torch is the runtime for {device.type}")
    if not has_openvino():
        return Choice(torch_runtime(wanted), "OpenVINO is not installed")
    precision = _precision(wanted)
    reason = f"OpenVINO in {PRECISIONS[precision]} is the fastest on this CPU"
    return Choice(openvino_runtime(wanted, precision), reason)


def has_openvino() -> bool:
    """Whether OpenVINO can be imported."""
    from backend.model.openvino.convert import import_openvino

    try:
        import_openvino()
    except ImportError:
        return False
    return True


def torch_runtime(wanted: Wanted) -> Runtime:
    networks: tuple[torch.nn.Module, ...] = wanted.components.networks
    for network in networks:
        network.to(dtype=wanted.dtype)
    eager = TorchRuntime(wanted.components)
    return GraphRuntime(eager) if eager.device.type == "cuda" else eager


def openvino_runtime(wanted: Wanted, precision: str) -> Runtime:
    from backend.model.openvino.runtime import OpenVinoRuntime

    return OpenVinoRuntime(
        wanted.components,
        openvino_folder(wanted.settings.data_dir, wanted.revision),
        precision=precision,
        num_threads=torch.get_num_threads(),
    )


def openvino_folder(data_dir: Path, revision: str) -> Path:
    """Folder of a model's converted networks, for one revision and one converter version."""
    from backend.model.openvino.convert import version

    return data_dir / "openvino" / f"{revision}-{version()}"


def _precision(wanted: Wanted) -> str:
    from backend.model.openvino.convert import precisions

    return "f32" if wanted.dtype == torch.float32 else precisions()[0]


def _check_openvino(wanted: Wanted) -> None:
    if not has_openvino():
        raise ModelFailed(
            "RUNTIME=openvino, but OpenVINO is not installed: pip install openvino, "
            "or set RUNTIME=auto."
        )
    if wanted.components.device.type != "cpu":
        raise ModelFailed("RUNTIME=openvino runs on a CPU: set DEVICE=cpu, or RUNTIME=auto.")
    asked = wanted.settings.dtype != "auto"  # torch's bfloat16 on Arm is none of OpenVINO's
    if asked and wanted.dtype != torch.float32 and _precision(wanted) == "f32":
        raise ModelFailed("This CPU has no bfloat16 arithmetic: set DTYPE=auto or float32.")
