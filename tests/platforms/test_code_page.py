"""Windows' usual encoding, which is not UTF-8: text files are read all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fake_service import FakeService

ROOT = Path(__file__).parent.parent.parent
PAGE = "tests/ui/app_pages/test_studio_page.py::test_a_picture_is_made_shown_and_kept"
PROMPT = "ein Apfel 日本 ●"


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that reads and writes CP1252."""
    localedef = shutil.which("localedef")
    if localedef is None:
        pytest.skip("needs localedef")
    folder = tmp_path_factory.mktemp("locales")
    command = [localedef, "-i", "en_US", "-f", "CP1252", str(folder / "en_US.CP1252")]
    made = subprocess.run(command, check=False, capture_output=True)  # 1: with warnings
    if made.returncode > 1:
        pytest.skip(f"localedef has no CP1252: {made.stderr.decode()}")
    return {
        **os.environ,
        "LOCPATH": str(folder),
        "LC_ALL": "en_US.CP1252",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    }


def test_a_page_opens_and_draws(windows: dict[str, str], tmp_path: Path) -> None:
    """With a data folder of odd characters."""
    encoding = "import locale; assert locale.getpreferredencoding() == 'CP1252'"
    subprocess.run([sys.executable, "-c", encoding], env=windows, check=True)
    pytest_run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", PAGE]
    done = subprocess.run(
        [*pytest_run, f"--basetemp={tmp_path / '100% a ü?'}"],
        cwd=ROOT, env=windows, check=False, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode("cp1252", "replace")[-3000:]


def test_the_command_line_takes_and_prints_any_prompt(
    windows: dict[str, str], tmp_path: Path
) -> None:
    with FakeService() as service:
        environ = windows | {"TEXT2IMAGE_ADDRESS": service.address, "PYTHONPATH": str(ROOT)}
        prompt = PROMPT.encode("unicode_escape").decode()
        code = f"import sys, client; sys.exit(client.main(['generate', '{prompt}', '--json']))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path, env=environ, check=False, capture_output=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert service.requests[0].prompt == PROMPT
    assert any(path.suffix == ".png" for path in tmp_path.iterdir())
