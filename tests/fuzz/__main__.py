"""Coverage-guided fuzzing, as `make fuzz` does: `python -m tests.fuzz file build/fuzz -runs=9999`.

The first words are the target and the folder of its corpus, which is kept between runs; the rest
are libFuzzer's options (-help=1 lists them). What it finds is written into the working folder as
crash-…, slow-unit-…, oom-… or timeout-….
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ui.metadata", "ui.recipe", "backend.model", "PIL"]):
    from tests.fuzz.targets import TARGETS, seeds

# 2 GB of it are torch's, in its build for CUDA.
OPTIONS = ["-rss_limit_mb=4096", "-timeout=5", "-max_len=65536", "-print_final_stats=1"]


def main(target: str, folder: Path, options: list[str]) -> None:
    """Fuzz one target until libFuzzer's options say to stop."""
    corpus = folder / target
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds(target):
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    atheris.Setup([sys.argv[0], *OPTIONS, *options, str(corpus)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
