"""locks/: what the images install, wheel by wheel, is what the project asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.lock import IMAGES, without_torch

ROOT = Path(__file__).parent.parent.parent
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def locked(name: str) -> dict[str, str]:
    """Package by package: the version, each of them with hashes."""
    text = (ROOT / "locks" / f"{name}.txt").read_text("utf-8")
    versions: dict[str, str] = {}
    for block in re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]:
        lines = [line.strip().removesuffix("\\").strip() for line in block.splitlines()]
        requirement = Requirement(lines[0])
        assert lines[1:], f"{lines[0]} has no hash"
        assert all(HASH.fullmatch(line) for line in lines[1:]), lines[0]
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        versions[str(canonicalize_name(requirement.name))] = specifier.version
    return versions


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pairs = (line.partition("==") for line in lines if not line.startswith("#"))
    return {str(canonicalize_name(name)): version for name, _, version in pairs}


@pytest.mark.parametrize("image", IMAGES)
def test_a_lock_has_all_that_the_image_needs_as_it_is_tested(image: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(one for name in IMAGES[image] for one in extras[name])]
    versions = locked(image)
    for text in wanted:
        requirement = Requirement(text)
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{text}: {version}"
    tested = pins()
    others = {name: v for name, v in versions.items() if tested.get(name, v) != v}
    assert others == {}, "run `make lock`"


def test_without_torch_nothing_of_cuda_is_left() -> None:
    whole, rest = locked("backend"), locked("backend-without-torch")
    gone = whole.keys() - rest.keys()
    assert {"torch", "triton", "nvidia-cublas"} <= gone
    assert all(name.startswith(("torch", "triton", "nvidia-", "cuda-")) for name in gone)
    assert {"nvidia-ml-py", "numpy", "diffusers"} <= rest.keys()
    text = (ROOT / "locks" / "backend.txt").read_text("utf-8")
    assert without_torch(text) == (ROOT / "locks" / "backend-without-torch.txt").read_text("utf-8")


def test_the_studio_has_no_torch() -> None:
    assert "torch" not in locked("ui")
