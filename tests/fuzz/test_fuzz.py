"""Some seconds of what `make fuzz` does for an hour; see docs/reliability.md."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, seeds

ROOT = Path(__file__).parent.parent.parent
SECONDS = 3


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of broken blocks
@pytest.mark.parametrize("target", TARGETS)
def test_the_seeds_are_sound(target: str) -> None:
    for seed in seeds(target):
        TARGETS[target](seed)
        TARGETS[target](seed[: len(seed) // 2])
        TARGETS[target](seed[len(seed) // 2 :])
    TARGETS[target](b"")


@pytest.mark.parametrize("target", TARGETS)
def test_fuzzing_finds_nothing(target: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("needs atheris, which has no wheels for this machine")
    options = [f"-max_total_time={SECONDS}", "-timeout=30", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.fuzz", target, str(tmp_path), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=550,
    )
    found = [path.read_bytes() for path in tmp_path.iterdir() if path.is_file()]
    assert (done.returncode, found) == (0, []), done.stderr[-3000:]
    (runs,) = (line for line in done.stderr.splitlines() if "number_of_executed_units" in line)
    assert int(runs.rpartition(" ")[2]) > 100
