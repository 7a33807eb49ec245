"""docs/clients.md: every snippet runs, against a live server, as it stands there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import sync_playwright

from tests.interop.live import ROOT, Live
from tests.interop.recorded_a1111 import PROGRAMS
from tests.support.needs import need

FLAGS = ["--no-sandbox", "--disable-background-networking"]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INTERPRETERS = {"sh": ("bash", "-euo", "pipefail"), "python": (sys.executable,), "js": ("node",)}
ENDINGS = {"sh": "sh", "python": "py", "js": "mjs"}

pytestmark = pytest.mark.e2e


class Snippet(NamedTuple):
    """One code block and where it stands."""

    language: str
    where: str
    code: str

    @property
    def name(self) -> str:
        return f"{self.language}-{self.code.strip().splitlines()[0][:40]}"


def snippets(document: Path) -> list[Snippet]:
    text = document.read_text(encoding="utf-8")
    return [Snippet(m[1], m[2].strip(), m[3]) for m in FENCE.finditer(text)]


ALL = snippets(ROOT / "docs/clients.md")
RUNNABLE = [
    snippet for snippet in ALL if snippet.where != "browser" and snippet.language != "powershell"
]
IN_BROWSER = [snippet for snippet in ALL if snippet.where == "browser"]


def pointed_at(live: Live, code: str) -> str:
    return code.replace("127.0.0.1:50051", live.address).replace("http://127.0.0.1:8080", live.http)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The repository's root as a reader has it, where a snippet may leave its files."""
    for entry in ("buf", "client.py", "docs", "proto", "tests", "text2image"):
        (tmp_path / entry).symlink_to(ROOT / entry)
    (tmp_path / "node_modules").symlink_to(ROOT / "tests/interop/node/node_modules")
    return tmp_path


def environment(live: Live) -> dict[str, str]:
    """As a reader has it, .venv active; TEXT2IMAGE_ADDRESS stands for the default port."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    mine = {"PATH": path, "no_proxy": "127.0.0.1", "TEXT2IMAGE_ADDRESS": live.address}
    return os.environ | mine


@pytest.mark.node
@pytest.mark.parametrize("snippet", RUNNABLE, ids=lambda snippet: snippet.name)
def test_it_runs(snippet: Snippet, live: Live, checkout: Path) -> None:
    for package in ("nodejs", "curl"):
        need(package)
    script = checkout / f"snippet.{ENDINGS[snippet.language]}"
    script.write_text(pointed_at(live, snippet.code), encoding="utf-8")
    command = [*INTERPRETERS[snippet.language], str(script)]
    result = subprocess.run(
        command, cwd=checkout, env=environment(live), capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for name in set(re.findall(r"apple[-\w]*\.png", snippet.code)):
        assert (checkout / name).read_bytes().startswith(b"\x89PNG"), name
    assert result.stdout or list(checkout.glob("*.png"))


@pytest.mark.parametrize("snippet", IN_BROWSER, ids=lambda snippet: snippet.name)
def test_it_runs_in_a_browser(snippet: Snippet, live: Live) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=need("chromium"),
            args=FLAGS,
        )
        page = browser.new_page()
        page.goto(live.http + "/healthz")
        page.evaluate(f"() => {{ {pointed_at(live, snippet.code)}; window.events = events; }}")
        page.wait_for_function("events.readyState === EventSource.CLOSED", timeout=20_000)
        assert page.title() == "50 of 50"
        source = page.locator("img").get_attribute("src") or ""
        browser.close()
    assert source.startswith("data:image/png;base64,iVBORw0KGgo")


def test_every_client_of_the_page_is_among_the_snippets() -> None:
    kinds = {(snippet.language, snippet.where) for snippet in ALL}
    assert kinds - {("powershell", "")} == {
        ("sh", ""),
        ("python", ""),
        ("js", ""),
        ("js", "browser"),
    }
    assert {s.code.split()[0] for s in ALL if s.language == "sh"} >= {"curl", "buf", "python"}


# Programs of the table that come as packages, and where they are run.
PACKAGES = {
    "n8n, OpenAI node": "programs/n8n.cjs",
    "Open WebUI, engine openai": "python/open_webui_images.py",
    "Open WebUI, engine automatic1111": "python/open_webui_images.py",
    "SillyTavern, source auto": "programs/sillytavern.mjs",
    "SillyTavern, source stable-diffusion.cpp": "programs/sillytavern.mjs",
    "LiteLLM": "python/litellm_images.py",
    "LangChain, DallEAPIWrapper": "python/langchain_images.py",
    "OpenAI SDK for Python": "test_openai_sdk.py",
    "OpenAI SDK for Node.js": "node/openai_images.mjs",
    "Vercel AI SDK, openai-compatible": "node/ai_sdk.mjs",
    "webuiapi": "test_a1111.py",
    "MCP SDK for Python": "../backend/transport/http/test_mcp.py",
    "MCP SDK for Node.js": "node/mcp.mjs",
}


def test_every_program_of_the_table_is_tested() -> None:
    table = (ROOT / "docs/clients.md").read_text("utf-8").partition("## Programs")[2]
    table = table.partition("\n#")[0]
    rows = [line.removeprefix("| ") for line in table.splitlines() if line.startswith("| ")][2:]
    programs = [re.split(r" \(| \|", row)[0] for row in rows]
    here = Path(__file__).parent
    requests = json.loads((here / "recorded_requests.json").read_text("utf-8"))
    recorded = (*(one["program"] for one in requests), *(one.name for one in PROGRAMS))
    for program in programs:
        if program in PACKAGES:
            assert (here / PACKAGES[program]).is_file(), program
            continue
        assert any(one.startswith(program) for one in recorded), program
    assert len(programs) == len(set(programs)) == 18


def pins(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", file.read_text("utf-8"), re.MULTILINE))


def test_the_versions_of_the_page_are_those_that_run_here() -> None:
    here = Path(__file__).parent
    files = [here / name for name in ("requirements.txt", "programs/requirements.txt")]
    python = {
        name: pin for file in (*files, ROOT / "constraints.txt") for name, pin in pins(file).items()
    }
    lock = json.loads((here / "node/package-lock.json").read_text("utf-8"))["packages"]
    node = {path.removeprefix("node_modules/"): it["version"] for path, it in lock.items() if path}
    programs = json.loads((here / "programs/package.json").read_text("utf-8"))["dependencies"]
    table = (ROOT / "docs/clients.md").read_text("utf-8").partition("### What was run")[2]
    rows = re.findall(r"^\| `([^`]+)`([^|]*) \| ([\d.]+) \|", table, re.MULTILINE)
    assert len(rows) == 20
    for name, more, version in rows:
        known = node if more == " for Node.js" else node | python | programs
        assert known[name] == version, name
