"""A demo session under load: guests over real connections, against the real backend.

`python -m bench.sessions` (`make bench-sessions`) starts backend and studio, lets guests arrive in
bursts, ask and watch, and prints what docs/demo-sessions.md tells. Exits with 1 where a budget is
missed; where the time is up, with what was seen until then.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import psutil
from sqlalchemy import create_engine

from bench.session_figures import Load, Measured
from bench.session_visit import visit
from client import Text2ImageClient
from tests.e2e.processes import Backend, Studio
from ui.identity import load_signer
from ui.sessions.rules import Rules
from ui.sessions.sessions import Sessions
from ui.sessions.store import Store
from ui.storage.database import prepare
from ui.storage.files import PictureFiles
from ui.storage.gallery import Gallery

REPORT_S = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the figures."""
    args = _parser().parse_args(arguments)
    load = Load(args.guests, args.pictures, args.idle, timeout_s=args.timeout, report_s=REPORT_S)
    sizes = ((args.size, args.size),) if args.size else ()
    rules = Rules(
        pictures_per_guest=args.pictures,
        per_minutes=0,
        max_waiting=load.guests * load.pictures,
        steps=args.steps,
        sizes=sizes,
    )
    print(_machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        backend = Backend(
            Path(folder),
            {"TEXT2IMAGE_RUNTIME": args.runtime, "TEXT2IMAGE_NUM_THREADS": str(args.threads)},
        )
        measured = _measure(backend, Path(folder, "studio"), rules, load)
    print("\n".join(measured.table(load)))
    problems = measured.problems(load)
    print("\n".join(f"MISSED: {problem}" for problem in problems))
    return bool(problems)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Put a demo session under load.")
    parser.add_argument("--guests", type=int, default=100)
    parser.add_argument("--pictures", type=int, default=3, help="for each guest")
    parser.add_argument("--idle", type=int, default=500, help="guests who only look")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--size", type=int, default=0, help="px; 0: the model's own")
    parser.add_argument("--runtime", default="auto", help="the backend's; auto: as people get it")
    parser.add_argument("--threads", type=int, default=0, help="the backend's; 0: its own choice")
    parser.add_argument(
        "--timeout", type=float, default=1800.0, help="seconds for the load at most"
    )
    return parser


def _machine() -> str:
    load = ", ".join(f"{average:.1f}" for average in psutil.getloadavg())
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("streamlit", "uvicorn", "starlette")
    )
    return f"{os.cpu_count()} cores (load {load}), Python {platform.python_version()}, {versions}"


def _measure(backend: Backend, data_dir: Path, rules: Rules, load: Load) -> Measured:
    data_dir.mkdir()
    code = prepare_session(data_dir, rules)
    studio = Studio(data_dir, backend.address)
    for process in (backend, studio):
        process.start()
    try:
        backend.wait_ready()
        studio.wait_ready()
        print(f"one picture takes {_seconds(backend, rules):.1f} s", flush=True)
        return visit(studio.url, code, load, studio.pid)
    finally:
        for process in (studio, backend):
            process.stop()


def _seconds(backend: Backend, rules: Rules) -> float:
    """The time of the second picture, since the first one compiles for its size."""
    width, height = rules.sizes[0] if rules.sizes else (None, None)
    seconds = 0.0
    with Text2ImageClient(backend.address) as service:
        for _ in range(2):
            began = time.perf_counter()
            service.generate(
                "a red apple", width=width, height=height, num_inference_steps=rules.steps
            )
            seconds = time.perf_counter() - began
    return seconds


def prepare_session(data_dir: Path, rules: Rules) -> str:
    """A session for the studio that will start in this folder; returns its code."""
    engine = create_engine(f"sqlite:///{data_dir / 'gallery.db'}")
    prepare(engine)
    store = Store(engine, load_signer(data_dir).secret_for("sessions of this studio"))
    gallery = Gallery(engine, PictureFiles(data_dir / "pictures"), 10**9)
    room = Sessions(store, gallery).start("b-bench", "Bench", "", rules, 600)
    engine.dispose()
    return room.session.code


if __name__ == "__main__":
    sys.exit(main())
