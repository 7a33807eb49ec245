"""Painting a part of a picture with a finger: it is drawn anew, and all else stays."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, expect

from tests.e2e.browsing import Visitor
from tests.e2e.conftest import Enter
from tests.e2e.test_making import READY_MS

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


def test_a_finger_paints_what_is_drawn_anew_and_all_else_stays(enter: Enter) -> None:
    visitor = enter(**PHONE)
    page = visitor.open(prompt="a red apple", seed=1, steps=8)
    before = drawn(visitor, "a red apple")
    visitor.button("Start from this picture").click()
    visitor.button("Only a part").click()
    canvas, use = page.locator(".st-key-mask-canvas canvas"), visitor.button("Draw this part anew")
    expect(use).to_be_disabled()
    stroke(visitor, canvas, y=0.2)
    expect(use).to_be_enabled()
    visitor.button("Undo").click()
    expect(use).to_be_disabled()
    stroke(visitor, canvas, y=0.6)
    use.click()
    expect(visitor.button("Change the part")).to_be_visible()
    page.get_by_label("Prompt", exact=True).fill("a blue fish")
    after = drawn(visitor, "a blue fish")
    assert before.shape == after.shape
    changed = (before != after).any(axis=2)
    rows, columns = (np.flatnonzero(changed.any(axis=axis)) / len(changed) for axis in (1, 0))
    # a brush of 12 %, from 0.3 to 0.7 across: what changes lies within, and reaches its middle
    assert 0.5 < rows.min() < 0.6 < rows.max() < 0.7
    assert 0.2 < columns.min() < 0.35
    assert 0.65 < columns.max() < 0.8


def drawn(visitor: Visitor, prompt: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Generate, and read the picture's file."""
    visitor.button("Generate").click()
    expect(visitor.picture()).to_have_attribute("alt", prompt, timeout=READY_MS)
    address = visitor.picture().get_attribute("src") or ""
    data = visitor.context.request.get(visitor.url + address).body()
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def stroke(visitor: Visitor, canvas: Locator, y: float) -> None:
    """Move a finger across the canvas, from 0.3 to 0.7 of its width."""
    expect(canvas).to_be_visible()
    box = canvas.bounding_box()
    assert box is not None
    finger = visitor.context.new_cdp_session(visitor.page)
    for number, x in enumerate((0.3, 0.4, 0.5, 0.6, 0.7)):
        point = {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}
        kind = "touchMove" if number else "touchStart"
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    finger.detach()
