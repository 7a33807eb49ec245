"""The wheels for `scripts/gpu-check`: all that the backend needs beside torch and numpy."""

import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FOR_TESTS = {"pytest-asyncio", "pytest-timeout"}


def _needed(requirement: Requirement, extras: tuple[str, ...]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, ""))


def everything(texts: list[str]) -> set[str]:
    """These requirements' distributions, with all that they require in turn."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in texts]
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if name in found or not _needed(one, ()):
            continue
        found.add(name)
        try:
            others = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:  # of another platform
            continue
        waiting += [
            Requirement(str(other).partition(";")[0])
            for other in others
            if _needed(other, tuple(one.extras))
        ]
    return found


def test_the_list_is_complete_and_has_nothing_else() -> None:
    lines = (ROOT / "scripts/gpu-check-wheels.txt").read_text("utf-8").splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = everything(project["dependencies"] + project["optional-dependencies"]["backend"])
    assert wanted - everything(["torch", "numpy"]) <= listed
    assert listed - FOR_TESTS <= wanted
