"""Rows of the table: measured values and their targets."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

import psutil

from backend.model.devices import has_native_bfloat16, machine

RESULTS = Path("bench-results")
PACKAGES = ("torch", "diffusers", "transformers", "openvino", "grpcio", "numpy")


@dataclass
class Row:
    """One row. `reached` is None if nothing could be measured; `note` then says why."""

    number: str
    measure: str
    floor: str
    value: str
    reached: bool | None
    note: str = ""
    details: dict[str, object] = field(default_factory=dict)


def arithmetic() -> tuple[str, ...]:
    """The dtypes that this CPU supports natively; others would be emulated slowly."""
    return ("float32", "bfloat16") if has_native_bfloat16() else ("float32",)


def print_table(rows: Sequence[Row]) -> None:
    """Print the rows as Markdown, in the order of their numbers."""
    print("\n| # | measure | at least | measured | reached |\n| --- | --- | --- | --- | --- |")
    for row in rows:
        reached = {True: "yes", False: "no", None: "not measured"}[row.reached]
        value = f"{row.value}; {row.note}" if row.note and row.value else row.value or row.note
        print(f"| {row.number} | {row.measure} | {row.floor} | {value} | {reached} |")


def conditions() -> dict[str, object]:
    """Hardware, versions, and the machine's load."""
    import torch

    return {
        "machine": machine(torch.device("cpu")),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "platform": sys.platform,
        "threads": torch.get_num_threads(),
        "arithmetic": ", ".join(arithmetic()),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        **{name: _version(name) for name in PACKAGES},
    }


def write(rows: Sequence[Row], found: dict[str, object], name: str) -> Path:
    """Write JSON and a plot to `bench-results/`; returns the JSON's path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(
        json.dumps({"conditions": found, "rows": [asdict(row) for row in rows]}, indent=1),
        encoding="utf-8",
    )
    return path


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
