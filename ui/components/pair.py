"""Compares two pictures: overlaid, side by side, or subtracted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import streamlit as st

from ui.components import html
from ui.components.actions import PINS
from ui.components.importer import STUDIO
from ui.components.slider import slider
from ui.grid import GridError
from ui.imaging import difference
from ui.session import address, owner, shared
from ui.storage.gallery import Picture, Search

VIEWS = ("Slider", "Side by side", "Difference")
CHOICES = 100
ROWS = {
    "prompt": "Prompt",
    "negative_prompt": "Negative prompt",
    "width": "Width",
    "height": "Height",
    "steps": "Steps",
    "guidance": "Guidance",
    "seed": "Seed",
    "scheduler": "Noise scheduler",
    "model": "Model",
    "duration_ms": "Took",
}


def two_pictures() -> None:
    """Choose two pictures and compare them."""
    pictures = _choices()
    if len(pictures) < 2:
        how = "Make another one in the studio." if pictures else "You have made none yet."
        st.html(html.empty("Two pictures are needed", how))
        with st.container(horizontal=True, horizontal_alignment="center", key="nothing"):
            if st.button("Make one", icon=":material/ink_pen:", key="first"):
                st.switch_page(STUDIO)
        return
    left, right = _choose(pictures)
    view = st.segmented_control(
        "View", VIEWS, key="view", default=VIEWS[0], required=True, label_visibility="collapsed"
    )
    if view == "Slider":
        slider(left, right)
    elif view == "Side by side":
        _side_by_side(left, right)
    else:
        _difference(left, right)
    st.html(_table(left, right))


def _choices() -> list[Picture]:
    """Pinned pictures, those named in the URL, and the latest."""
    named = [st.query_params.get(side, "") for side in ("a", "b")]
    special = shared().gallery.get_many(owner(), [*st.session_state.get(PINS, []), *named])
    latest = shared().gallery.page(owner(), Search(), 1, CHOICES)
    return list({picture.id: picture for picture in [*special, *latest]}.values())


def _choose(pictures: Sequence[Picture]) -> tuple[Picture, Picture]:
    by_id = {picture.id: picture for picture in pictures}
    ids = list(by_id)
    chosen = []
    with st.container(horizontal=True, key="sides"):
        for index, (key, label) in enumerate((("a", "Left"), ("b", "Right"))):
            picture_id = st.selectbox(
                label,
                ids,
                index=index,
                key=key,
                bind="query-params",
                format_func=lambda i: f"{by_id[i].prompt[:60]} · seed {by_id[i].seed}",
            )
            chosen.append(by_id[picture_id])
    return chosen[0], chosen[1]


def _side_by_side(left: Picture, right: Picture) -> None:
    for column, picture in zip(st.columns(2), (left, right), strict=True):
        shown = html.picture(address(picture), picture.prompt, picture.width, picture.height)
        column.html(html.mat(shown, picture.width, picture.height))


def _difference(left: Picture, right: Picture) -> None:
    try:
        png, mean = _computed_difference(left.id, right.id, owner())
    except GridError as error:
        st.info(str(error), icon=":material/info:")
        return
    source = html.data_address(png, "image/png")
    shown = html.picture(source, "The difference, four times amplified", left.width, left.height)
    st.html(html.mat(shown, left.width, left.height))
    words = (
        "They are the same, bit for bit."
        if mean == 0
        else (f"They differ by {mean:.2f} of 255 on average; shown four times amplified.")
    )
    st.caption(words)


@st.cache_data(max_entries=64, show_spinner=False)
def _computed_difference(left: str, right: str, who: str) -> tuple[bytes, float]:
    gallery = shared().gallery
    first, second = (gallery.read(picture) for picture in gallery.get_many(who, [left, right]))
    return difference(first, second)


def _table(left: Picture, right: Picture) -> str:
    """A table of both recipes, with a dot where they differ."""
    known = {field.name for field in fields(Picture)}
    rows = "".join(_row(name, left, right) for name in ROWS if name in known)
    return (
        '<table class="ink-table ink-pair"><thead><tr><th scope="col">Setting</th>'
        '<th scope="col">Left</th><th scope="col">Right</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _row(name: str, left: Picture, right: Picture) -> str:
    values = [getattr(picture, name) for picture in (left, right)]
    differs = values[0] != values[1]
    if name == "duration_ms":
        values = [html.seconds(value) for value in values]
    cells = "".join(f"<td>{html.escape(value)}</td>" for value in values)
    mark = ' <span class="ink-differs">differs</span>' if differs else ""
    return f'<tr><th scope="row">{ROWS[name]}{mark}</th>{cells}</tr>'
