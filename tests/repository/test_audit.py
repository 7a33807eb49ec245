"""`make audit` fails if it can't get an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.audit import KNOWN, UNASKED, main

CLEAN = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found"}


def audit(folder: Path, answer: str, code: int = 0, complaint: str = "") -> int:
    """Run it with a stand-in for pip-audit that answers so."""
    (folder / "answer").write_text(answer, encoding="utf-8")
    program = folder / "pip-audit"
    program.write_text(
        f"#!/bin/sh\ncat {folder}/answer\necho '{complaint}' >&2\nexit {code}\n", encoding="utf-8"
    )
    program.chmod(0o755)
    return main(str(program), ["constraints.txt"])


@pytest.mark.parametrize(
    ("packages", "code", "told"),
    [
        ([CLEAN], 0, "1 packages checked, 0 with vulnerabilities"),
        ([CLEAN, BAD], KNOWN, "b 2: PYSEC-1, fixed in 3"),
        ([CLEAN, SKIPPED], UNASKED, "not checked, since the service does not know them: c"),
        ([BAD, SKIPPED], KNOWN, "PYSEC-1"),
    ],
)
def test_what_is_known_and_what_was_not_asked_is_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    packages: list[dict[str, Any]],
    code: int,
    told: str,
) -> None:
    assert audit(tmp_path, json.dumps({"dependencies": packages})) == code
    assert told in capsys.readouterr().out


def test_without_a_network_nothing_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(tmp_path, "", 1, "ERROR: could not connect") == UNASKED
    assert "nothing was checked" in capsys.readouterr().out
