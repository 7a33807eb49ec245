"""Ray is optional: nothing needs it but the backend that is made of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backend.config import Settings
from backend.errors import ConfigError
from tests.support.fakes import settings

ROOT = Path(__file__).parents[3]
WITHOUT_RAY = "import sys; sys.modules['ray'] = None; "


def run(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_RAY + script]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_nothing_else_imports_ray_or_the_cluster() -> None:
    """An import of the absent ray would raise; that of the cluster would only be slower."""
    found = run(
        "import backend.__main__, backend.startup, backend.transport.rpc.server, client, "
        "bench.simulator; "
        "print([name for name in sys.modules if name.startswith('backend.cluster')])"
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "[]"


def test_the_front_itself_needs_no_ray() -> None:
    found = run("import backend.cluster.backend, backend.cluster.connect")
    assert found.returncode == 0, found.stderr


def test_its_absence_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from backend.cluster import connect

    monkeypatch.setattr(connect, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"scripts/install\.py backend cluster"):
        connect.ray_backend(settings(backend="ray"), "1.0")


def test_fewer_at_most_than_at_least_is_refused() -> None:
    with pytest.raises(ValueError, match="MAX_REPLICAS=2 must be 0 or at least"):
        settings(replicas=3, max_replicas=2)


def test_one_command_is_the_backend_with_these_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from backend.cluster import __main__ as command
    from backend.config import load_settings

    for name in ("BACKEND", "REPLICAS", "MAX_REPLICAS"):
        monkeypatch.setenv(f"TEXT2IMAGE_{name}", "")  # put back at the end
        monkeypatch.delenv(f"TEXT2IMAGE_{name}")
    started: list[Settings] = []

    def start(arguments: list[str]) -> int:
        started.append(load_settings())
        return 0

    monkeypatch.setattr(command, "backend", start)
    assert command.main(["up", "--replicas", "2", "--max-replicas", "5"]) == 0
    (wanted,) = started
    assert (wanted.backend, wanted.replicas, wanted.most_replicas) == ("ray", 2, 5)
