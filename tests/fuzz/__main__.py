"""Coverage-guided fuzzing: `python -m tests.fuzz file -max_total_time=600` (`make fuzz`).

What it finds is written into the working folder as crash-… or slow-unit-…, by libFuzzer's options:
-help=1 lists them. A corpus is kept in build/fuzz/TARGET between runs.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ui.metadata", "ui.recipe", "PIL"]):
    from tests.fuzz.targets import TARGETS, seeds

CORPUS = Path("build") / "fuzz"
OPTIONS = ["-rss_limit_mb=2048", "-timeout=5", "-max_len=65536", "-print_final_stats=1"]


def main(argv: list[str]) -> None:
    """Fuzz one target until libFuzzer's options say to stop."""
    target, options = argv[0], argv[1:]
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds(target):
        (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    atheris.Setup([sys.argv[0], *OPTIONS, *options, str(folder)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
