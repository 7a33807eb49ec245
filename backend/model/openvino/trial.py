"""Compiles a network in a process of its own first: a compiler that crashes must crash alone.

OpenVINO 2026.4.1 dies while fusing some float32 UNets, and takes its process with it; without its
snippets it compiles them. Run as a module with one JSON argument; needs no torch.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.disk_cache import write_whole

ROOT = Path(__file__).parent.parent.parent.parent
COMMAND = [sys.executable, "-m", "backend.model.openvino.trial"]
TIMEOUT_S = 600
VARIANTS: tuple[Mapping[str, object], ...] = ({}, {"SNIPPETS_MODE": "DISABLE"})


class Trials:
    """Which settings are known to work for which shapes; kept in `folder` for the next start."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "trials.json"
        self._known: dict[str, int] = {}
        if self._path.is_file():
            self._known = json.loads(self._path.read_text(encoding="utf-8"))

    def settings(
        self, network: Path, shapes: Sequence[Sequence[int]], wanted: Mapping[str, object]
    ) -> Mapping[str, object]:
        """`wanted`, with what it takes for `network` to compile and run with these inputs.

        Raises:
            RuntimeError: nothing helps.
        """
        key = json.dumps([network.name, *map(list, shapes), *sorted(map(str, wanted.values()))])
        if key not in self._known:
            self._known[key] = _first_that_works(network, shapes, wanted)
            text = json.dumps(self._known, indent=1)
            write_whole(self._path, lambda aside: aside.write_text(text, encoding="utf-8"))
        return {**wanted, **VARIANTS[self._known[key]]}


def _first_that_works(
    network: Path, shapes: Sequence[Sequence[int]], wanted: Mapping[str, object]
) -> int:
    for index, variant in enumerate(VARIANTS):
        trial = {
            "network": str(network.resolve()),
            "shapes": [list(shape) for shape in shapes],
            "settings": {**wanted, **variant},
        }
        command = [*COMMAND, json.dumps(trial)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=TIMEOUT_S)
        if done.returncode == 0:
            return index
    raise RuntimeError(f"OpenVINO can't compile {network.name} for {shapes}")


def compile_network(
    core: Any, network: Path, shapes: Sequence[Sequence[int]], settings: Mapping[str, object]
) -> list[Any]:
    """As many infer requests for static input `shapes` as `settings` have streams."""
    model = core.read_model(network)
    model.reshape({port: list(shape) for port, shape in zip(model.inputs, shapes, strict=True)})
    compiled = core.compile_model(model, "CPU", dict(settings))
    return [compiled.create_infer_request() for _ in range(int(str(settings["NUM_STREAMS"])))]


def main(argument: str) -> None:
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import numpy as np
    import openvino

    trial = json.loads(argument)
    requests = compile_network(
        openvino.Core(), Path(trial["network"]), trial["shapes"], trial["settings"]
    )
    types = [port.get_element_type().to_dtype() for port in requests[0].model_inputs]
    for request in requests:
        request.infer(
            [np.zeros(shape, dtype) for shape, dtype in zip(trial["shapes"], types, strict=True)]
        )


if __name__ == "__main__":
    main(sys.argv[1])
