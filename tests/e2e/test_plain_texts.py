"""What people write is shown letter for letter, wherever Streamlit reads Markdown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.plain_texts import TEXTS
from tests.e2e.processes import Process
from tests.support.ports import free_port
from ui.components.html import JOINER

PAGE = Path(__file__).with_name("plain_texts.py")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(PAGE), f"--server.port={port}"]
    process = Process(command, {}, tmp_path / "log")
    process.start()
    yield f"http://127.0.0.1:{port}"
    process.stop()


def test_every_text_is_shown_letter_for_letter(browser: Browser, address: str) -> None:
    page = browser.new_page()
    for _ in range(60):
        try:
            page.goto(address)
            break
        except Exception:  # it starts
            page.wait_for_timeout(500)
    expect(page.locator(f".st-key-text-{len(TEXTS) - 1} .stAlert")).to_be_visible(timeout=60_000)
    for number, text in enumerate(TEXTS):
        block = page.locator(f".st-key-text-{number}")
        shown = [
            place.inner_text().replace(JOINER, "")
            for place in (
                block.get_by_role("button"),
                block.get_by_test_id("stCaptionContainer"),
                block.locator(".stAlert"),
            )
        ]
        assert shown == [text.strip()] * 3
        assert block.locator("a, img, code, svg, [data-testid=stIconMaterial]").count() == 0
    page.close()
