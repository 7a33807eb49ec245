"""schemathesis, which makes up requests from /openapi.json and holds the answers against it.

For thousands of requests: TEXT2IMAGE_SCHEMATHESIS_EXAMPLES=100 (per operation), and pytest's -s to
see how many there were.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.support.fakes import FakeModel
from tests.support.http_front import front
from tests.support.served import served

EXAMPLES = os.environ.get("TEXT2IMAGE_SCHEMATHESIS_EXAMPLES", "11")
OPTIONS = (
    *("--phases", "fuzzing", "--checks", "all", "--max-examples", EXAMPLES),
    *("--exclude-path", "/mcp"),  # a protocol of its own, whose clients test it
    *("--generation-deterministic", "--continue-on-failure", "--suppress-health-check", "all"),
)


@pytest.mark.timeout(4 * 3600)
async def test_the_server_does_what_its_document_says(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "schemathesis"
    config = Path(__file__).parent / "schemathesis.toml"
    async with served(FakeModel()) as running, front(running.server.local_target) as http:
        process = await asyncio.create_subprocess_exec(
            str(program),
            "--config-file",
            str(config),
            "run",
            f"{http.base_url}/openapi.json",
            *OPTIONS,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
    report = out.decode()
    print(report)
    assert process.returncode == 0, report
    generated = re.search(r"(\d+) generated", report)
    assert generated is not None, report
    assert int(generated[1]) >= 200
