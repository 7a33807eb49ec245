"""The workflows for GitHub's runners, which can't run here, as actionlint reads them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.needs import need

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "tests/interop/node/actionlint.mjs"
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
# Runners that came after actionlint's build for WebAssembly.
NEWER = re.compile(r'runner-label: label "(ubuntu-24\.04|ubuntu-24\.04-arm|macos-14)" is unknown')

pytestmark = pytest.mark.node


def complaints(*files: Path) -> list[str]:
    command = [need("nodejs"), str(SCRIPT), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if not NEWER.search(line)]


def test_actionlint_has_nothing_to_say() -> None:
    assert WORKFLOWS
    assert complaints(*WORKFLOWS) == []


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    """A job on a runner that there is not, and a name that its matrix lacks."""
    text = WORKFLOWS[0].read_text("utf-8")
    wrong = text.replace("matrix.python", "matrix.snake").replace("windows-2022", "windows-1995")
    file = tmp_path / "wrong.yml"
    file.write_text(wrong, "utf-8")
    kinds = {line.split(": ")[1] for line in complaints(file)}
    assert kinds == {"expression", "runner-label"}
