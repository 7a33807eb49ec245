"""`pip install .`: the client library and its command, on their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.fake_service import FakeService

ROOT = Path(__file__).parent.parent.parent
NEEDED = ("LICENSE", "README.md", "client.py", "proto", "pyproject.toml", "setup.py", "text2image")
PROGRAM = """
import sys
from text2image import Text2ImageClient
with Text2ImageClient(sys.argv[1]) as client:
    [image] = client.generate("a fox", seed=5).images
print(image.seed, image.data[1:4], "torch" in sys.modules)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the library and, as if proto-plus were there, another package `proto`."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in NEEDED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation"]
    subprocess.run([*command, "--no-deps", "-w", folder, source], check=True, cwd=folder)
    [wheel] = folder.glob("*.whl")
    site = folder / "site"
    zipfile.ZipFile(wheel).extractall(site)
    (site / "proto").mkdir()
    (site / "proto" / "__init__.py").write_text(
        "raise RuntimeError('the wrong proto')\n", encoding="utf-8"
    )
    return site


def run(site: Path, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": str(site)},
        cwd=site,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_it_needs_grpc_and_nothing_of_the_backend(installed: Path) -> None:
    [metadata] = installed.glob("*.dist-info/METADATA")
    lines = metadata.read_text("utf-8").splitlines()
    needed = [
        line for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line
    ]
    names = {re.split("[<>=]", line.split()[1])[0] for line in needed}
    assert names == {
        "googleapis-common-protos",
        "grpcio",
        "grpcio-health-checking",
        "grpcio-status",
        "protobuf",
    }
    packages = {path.parent.name for path in installed.rglob("__init__.py")}
    assert {"text2image", "cli", "contract"} <= packages
    assert not {"backend", "ui", "tests"} & packages
    assert (installed / "text2image" / "py.typed").exists()


def test_the_library_and_the_command_work(installed: Path, tmp_path: Path) -> None:
    [entry_points] = installed.glob("*.dist-info/entry_points.txt")
    assert "text2image = text2image.__main__:run" in entry_points.read_text("utf-8")
    with FakeService() as service:
        assert run(installed, "-c", PROGRAM, service.address).split() == ["5", "b'PNG'", "False"]
        picture = tmp_path / "fox.png"
        command = ("generate", "a fox", "--address", service.address, "--output", str(picture))
        run(installed, "-m", "text2image", *command)
    assert picture.read_bytes().startswith(b"\x89PNG")
