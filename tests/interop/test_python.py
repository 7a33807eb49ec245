"""Clients of the Python world with an environment of their own: `make interop` sets it up."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.interop.live import ROOT, Live, until

SCRIPTS = Path(__file__).parent / "python"
PYTHON = ROOT / "build/interop" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not PYTHON.exists(), reason="needs tests/interop/requirements.txt: make interop"
    ),
]


def run(script: str, live: Live) -> list[str]:
    """Run a script of ours around a client of theirs; its lines that say ok."""
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1"}
    result = subprocess.run(
        [str(PYTHON), "-W", "ignore", str(SCRIPTS / script), live.http],
        env=os.environ | quiet,
        capture_output=True,
        text=True,
        timeout=550,  # LiteLLM's import alone takes 13 s of a CPU
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.splitlines()


def test_litellm(live: Live) -> None:
    checks = run("litellm_images.py", live)
    assert checks == [f"ok {n}" for n in ("generate", "our parameters", "edit", "refusal")]


def test_langchain(live: Live) -> None:
    assert run("langchain_images.py", live) == ["ok run"]


def test_open_webui(live: Live) -> None:
    checks = run("open_webui_images.py", live)
    openai = ("generate", "our parameters", "size auto", "edit", "refusal")
    a1111 = ("automatic1111 menus", "automatic1111 generate")
    assert checks == [f"ok {n}" for n in (*openai, *a1111)]


def test_connectrpc(live: Live) -> None:
    cancelled = live.status().counters.cancelled
    assert run("connectrpc_calls.py", live) == ["ok proto", "ok json"]
    until(lambda: live.is_idle)
    assert live.status().counters.cancelled == cancelled + 2
