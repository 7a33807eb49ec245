import time
from dataclasses import asdict, fields
from typing import Any

import pytest

from ui.components import html
from ui.components.plots import Plot, draw
from ui.monitor import HISTORY_S, Sample
from ui.recipe import Recipe
from ui.storage.picture import Picture

EVIL = '"><script>alert(1)</script>'


def picture(**values: Any) -> Picture:
    numbers = {"width": 64, "height": 64, "steps": 4, "guidance": 7.5, "seed": 1}
    known = {field.name for field in fields(Picture)}
    usual = {name: value for name, value in asdict(Recipe()).items() if name in known}
    return Picture(**(dict.fromkeys(known, "") | usual | numbers | values))


def test_nothing_that_people_write_becomes_markup() -> None:
    pieces = [
        html.picture(EVIL, EVIL, 1, 1),
        html.empty(EVIL, EVIL),
        html.chip("green", EVIL, EVIL),
        html.facts([(EVIL, EVIL)]),
        html.announce(EVIL),
        html.thumbnail(EVIL, 1, 1),
        html.facts(html.parameters(picture(scheduler=EVIL, model=EVIL))),
    ]
    for piece in pieces:
        assert "<script" not in piece
        assert "&quot;&gt;&lt;script&gt;" in piece


@pytest.mark.parametrize("text", ["**bold**", "[a](b)", ":red[x]", "$x$", "# h", "<b>", "1. a"])
def test_plain_text_is_no_markdown(text: str) -> None:
    escaped = html.plain(text)
    assert escaped.replace("\\", "").replace(html.JOINER, "") == text
    for sign in "*[$#<":
        assert f"\\{sign}" in escaped or sign not in text


@pytest.mark.parametrize("piece", ["-", " ", "\n ", ": ", "<", "www", "@", "a", "-> "])
def test_a_megabyte_is_made_plain_in_linear_time(piece: str) -> None:
    started = time.thread_time()
    html.plain(piece * (2**20 // len(piece)))
    assert time.thread_time() - started < 3


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (40, "0.0 s"),
        (840, "0.8 s"),
        (12_300, "12 s"),
        (125_000, "2 min 5 s"),
        (11_400_000, "3 h 10 min"),
        (400_000_000, "4 days 15 h"),
    ],
)
def test_durations_are_said_as_people_do(milliseconds: float, words: str) -> None:
    assert html.seconds(milliseconds) == words


@pytest.mark.parametrize(
    ("num_bytes", "words"),
    [(0, "0 bytes"), (2048, "2.0 kB"), (3.5e6, "3.3 MB"), (12 * 2**30, "12 GB")],
)
def test_sizes_are_said_as_people_do(num_bytes: float, words: str) -> None:
    assert html.size(num_bytes) == words


def test_a_plot_without_data_says_so() -> None:
    plot = Plot("Queue", lambda status: float(status.queue.queued), str)
    assert "no data yet" in draw(plot, [Sample(0.0, None)], HISTORY_S)
