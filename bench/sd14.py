"""P1 to P3: one picture of 256² with Stable Diffusion 1.4's architecture and random weights."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.engine_rows import overhead
from bench.figures import abba, ratio_of
from bench.peers.lock import LockedPipeline
from bench.peers.servers import NotHere, Work, peer_server
from bench.rows import Row, arithmetic
from bench.subject import Subject, load_alone
from tests.sd14.build import build_sd14, build_single_file

SIZE = 256
ROUNDS = 4


def rows(folder: Path, venvs: Path, steps: int) -> Iterator[Row]:
    """Measure pictures of `steps` steps with decoding; builds the model if `folder` is empty."""
    if not (folder / "model_index.json").is_file():
        print("  building the model …", flush=True)
        build_sd14(folder)
    file = folder.with_suffix(".safetensors")
    if not file.is_file():
        build_single_file(folder, file)
    subject = load_alone(str(folder), SIZE)
    yield overhead(subject, "SD 1.4 shape, 256²", 1.03, ROUNDS, steps)
    yield against_diffusers(subject, steps)
    yield against_peers(subject, venvs, file, steps)


def against_diffusers(subject: Subject, steps: int) -> Row:
    """P2: diffusers as shipped, in float32."""
    pipeline = LockedPipeline(subject.folder)
    theirs_s, ours_s = abba(
        partial(pipeline.draw, steps=steps, height=SIZE), _ours(subject, steps), ROUNDS
    )
    del pipeline
    gc.collect()  # 4 GB, which the next one may need
    found = ratio_of(theirs_s, ours_s)
    return Row(
        "P2",
        f"one picture on a CPU, SD 1.4 shape, 256², {steps} steps: diffusers float32 ÷ ours",
        "3.5 ×",
        f"{found} × (at best {min(theirs_s):.1f} s against {min(ours_s):.1f} s)",
        found.value >= 3.5,
        details={"diffusers_s": theirs_s, "ours_s": ours_s},
    )


def against_peers(subject: Subject, venvs: Path, file: Path, steps: int) -> Row:
    """P3: other fast implementations for CPUs, each alternating with ours."""
    works = [
        ("optimum", Work(subject.folder, arithmetic()[-1], steps, SIZE)),
        ("sdcpp", Work(str(file.resolve()), "f16", steps, SIZE)),
        ("sdcpp", Work(str(file.resolve()), "q8_0", steps, SIZE)),
    ]
    found, missing, seconds = {}, [], {}
    for name, work in works:
        try:
            with peer_server(name, venvs, work) as draw:
                theirs_s, ours_s = abba(draw, _ours(subject, steps), ROUNDS)
        except NotHere as error:
            missing.append(str(error))
            continue
        found[f"{name} {work.dtype}"] = ratio_of(theirs_s, ours_s)
        seconds[f"{name} {work.dtype}"] = {"theirs": theirs_s, "ours": ours_s}
        print(f"  {name} {work.dtype}: {found[f'{name} {work.dtype}']}", flush=True)
    told = "; ".join(f"{name} {ratio} ×" for name, ratio in found.items())
    return Row(
        "P3",
        "the same: the best peer ÷ ours",
        "1.0 ×",
        told,
        min(ratio.value for ratio in found.values()) >= 1.0 if found else None,
        "; ".join(missing),
        details={"seconds": seconds},
    )


def _ours(subject: Subject, steps: int) -> Callable[[int], None]:
    return lambda number: _discard(subject.draw(subject.params(number, steps)))


def _discard(_: object) -> None:
    return None
