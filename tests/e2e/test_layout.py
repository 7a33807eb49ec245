"""Where things lie: tiles in whole rows, and wide grids that show that they go on."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image, ImageStat
from playwright.sync_api import Locator, expect

from tests.e2e.conftest import Enter

WIDTHS = (1440, 820, 390)
STRIP = 6  # pixels at a side, where a shadow is darkest
GAP = (2, 6)  # pixels from the top of a grid: above its headings
LEAST_SHADE = 5  # of 255
ROWS = """grid => {
  const rows = {};
  for (const tile of grid.children) {
    const box = tile.getBoundingClientRect();
    (rows[Math.round(box.top)] ??= []).push([Math.round(box.width), Math.round(box.height)]);
  }
  return Object.values(rows);
}"""


@pytest.mark.parametrize("width", WIDTHS)
def test_status_is_whole_rows_of_equal_tiles(enter: Enter, width: int) -> None:
    visitor = enter(viewport={"width": width, "height": 900})
    visitor.open(prompt="a red apple", steps=2)
    visitor.button("Generate").click()
    expect(visitor.picture()).to_be_visible()
    page = visitor.open("/status")
    expect(page.get_by_text("The last hour")).to_be_visible()
    grids = page.locator(".ink-tiles")
    expect(grids).to_have_count(3)
    for grid in grids.all():
        rows = grid.evaluate(ROWS)
        assert len({len(row) for row in rows}) == 1, "a gap in the last row"
        assert len({tile[0] for row in rows for tile in row}) == 1, "one width"
        assert all(len({tile[1] for tile in row}) == 1 for row in rows), "one height in a row"


def test_a_plot_tells_its_values_where_one_points(enter: Enter) -> None:
    page = enter().open("/status")
    strip = page.locator(".ink-plot b[title*=':']").first
    expect(strip).to_have_attribute("title", re.compile(r"\d\d:\d\d:\d\d: "))


def shaded(region: Locator) -> set[str]:
    """The sides of a grid at which its paper is darker than in the middle."""
    with Image.open(io.BytesIO(region.screenshot())) as shot:
        above = shot.convert("L").crop((0, GAP[0], shot.width, GAP[1]))

    def light(left: int) -> float:
        return ImageStat.Stat(above.crop((left, 0, left + STRIP, above.height))).mean[0]

    middle = light(above.width // 2)
    sides = {"left": light(1), "right": light(above.width - STRIP - 1)}
    return {side for side, found in sides.items() if middle - found > LEAST_SHADE}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_wide_grid_shows_on_which_side_it_goes_on(enter: Enter, scheme: str) -> None:
    visitor = enter(viewport={"width": 820, "height": 900}, color_scheme=scheme)
    page = visitor.open("/compare")
    page.get_by_text("Grid", exact=True).click()
    page.get_by_label("Prompt", exact=True).fill("a red apple")
    values = page.get_by_role("textbox", name="Across: values")
    values.fill(", ".join(str(steps) for steps in range(1, 13)))
    values.press("Enter")
    visitor.button("Make 12 pictures").click()
    visitor.button("Cancel all").click()
    expect(page.get_by_text("Cancelled").first).to_be_visible()
    expect(visitor.button("Cancel all")).to_have_count(0)  # and nothing is drawn anew
    region = page.get_by_role("region", name="The grid")
    assert region.evaluate("e => e.scrollWidth > e.clientWidth")
    assert shaded(region) == {"right"}
    for part, sides in ((0.5, {"left", "right"}), (1, {"left"})):
        region.evaluate("(e, part) => e.scrollLeft = part * (e.scrollWidth - e.clientWidth)", part)
        assert shaded(region) == sides, part
