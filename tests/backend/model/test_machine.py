"""How a machine is identified."""

from __future__ import annotations

import pytest
import torch

from backend.model.devices import chip, machine

VIRTUAL = """processor\t: 0
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC

processor\t: 1
cpu family\t: 26
model name\t: another
"""


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (VIRTUAL, "AMD EPYC (cpu family 25, model 1)"),
        ("model name\t: Chip 9 \n", "Chip 9"),
        ("processor\t: 0\nBogoMIPS\t: 50.00\n", ""),
        (
            "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n",
            "Arm (CPU implementer 0x41, CPU part 0xd0b)",
        ),
        ("", ""),
    ],
)
def test_a_chip_is_told_from_others_of_its_name(cpuinfo: str, expected: str) -> None:
    assert chip(cpuinfo) == expected


def test_this_machine_has_a_name() -> None:
    assert machine(torch.device("cpu"))
