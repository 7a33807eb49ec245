"""Check the README's table of computers against the wheels of the pins: `make wheels-check`.

uv resolves the product for each computer and Python from wheels alone, with the package index that
pip or uv is configured for.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
EXTRAS = ("backend", "ui", "openvino")
ALL, WITHOUT, NONE = "all of it", "without OpenVINO", "no"
DIFFERENT, UNASKED = 1, 3


@dataclass(frozen=True, slots=True)
class Computer:
    """A kind of computer: its name in the README, uv's name for it, and the release of macOS."""

    name: str
    platform: str
    macos: str = ""


COMPUTERS = (
    Computer("Linux x86_64", "x86_64-manylinux_2_28"),
    Computer("Windows x64", "x86_64-pc-windows-msvc"),
    Computer("macOS 14 or newer on Apple Silicon", "aarch64-apple-darwin", "14.0"),
    Computer("Linux on Arm, glibc 2.35 or newer", "aarch64-manylinux_2_35"),
    Computer("Linux on Arm, glibc 2.28 to 2.34", "aarch64-manylinux_2_34"),
    Computer("macOS 12 and 13", "aarch64-apple-darwin", "13.0"),
    Computer("Intel Macs", "x86_64-apple-darwin", "15.0"),
    Computer("Windows on Arm", "aarch64-pc-windows-msvc"),
)


def promised(readme: str) -> dict[str, str]:
    """What the README's table says of each computer: ALL, WITHOUT or NONE.

    Raises:
        ValueError: a computer is in no row or in several, or its row says something else.
    """
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", readme, re.MULTILINE)
    answers: dict[str, str] = {}
    for computer in COMPUTERS:
        said = [text for names, text in rows if computer.name in names]
        found = [answer for answer in (ALL, WITHOUT, NONE) if said and said[0].startswith(answer)]
        if len(said) != 1 or not found:
            raise ValueError(f"README.md: no clear row for {computer.name}")
        answers[computer.name] = found[0]
    return answers


def missing(computer: Computer, python: str, extras: tuple[str, ...], *options: str) -> str:
    """Why these extras can't be installed from wheels there; empty if they can.

    Raises:
        OSError: the index can't be asked.
    """
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "pyproject.toml"]
    command += ["--constraints", "constraints.txt", "--only-binary", ":all:", "--quiet"]
    # This Python resolves for the others: uv would download each of them for it.
    command += ["--python", sys.executable]
    command += ["--python-platform", computer.platform, "--python-version", python, *options]
    command += [word for extra in extras for word in ("--extra", extra)]
    environ = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": computer.macos or "14.0"}
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, encoding="utf-8"
    )
    if done.returncode and "No solution found" not in done.stderr:
        raise OSError(done.stderr.strip())
    return reason(done.stderr) if done.returncode else ""


def reason(complaint: str) -> str:
    """The packages without a wheel in uv's complaint, or the whole of it."""
    words = " ".join(complaint.split())
    names = re.findall(r"([\w.-]+)==[\w.]+ has no (?:usable )?wheels", words)
    return f"no wheel of {', '.join(dict.fromkeys(names))}" if names else words


def found(computer: Computer, python: str, *options: str) -> tuple[str, str]:
    """ALL, WITHOUT or NONE, and why it is not ALL."""
    why = missing(computer, python, EXTRAS, *options)
    if not why:
        return ALL, ""
    without = tuple(extra for extra in EXTRAS if extra != "openvino")
    still = missing(computer, python, without, *options)
    return (NONE, still) if still else (WITHOUT, why)


def configured_index() -> list[str]:
    """uv's option for the index that pip is configured for, if it is."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    asked = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    index = os.environ.get("PIP_INDEX_URL") or asked.stdout.strip()
    return ["--default-index", index] if index else []


def main() -> int:
    """Print the table; returns 1 if the README's differs, and 3 if the index can't be asked."""
    said, options, code = promised((ROOT / "README.md").read_text("utf-8")), configured_index(), 0
    for computer in COMPUTERS:
        for python in PYTHONS:
            try:
                answer, why = found(computer, python, *options)
            except OSError as error:
                print(f"The package index can't be asked: {error}", file=sys.stderr)
                return UNASKED
            differs = answer != said[computer.name]
            code = DIFFERENT if differs else code
            note = f"  README.md says: {said[computer.name]}" if differs else ""
            print(f"{computer.name:36} {python}  {answer:16} {why}{note}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
