"""Navigation between pages: beside the logo on desktops, at the bottom on phones."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from ui.components import html
from ui.unknown_page import ASKED, MOST


def tabs(pages: Sequence[StreamlitPage], current: StreamlitPage) -> None:
    """A link to every page; style.css places them."""
    with st.container(horizontal=True, key="tabs", gap="small"):
        for page in pages:
            state = "here" if page is current else "tab"
            with st.container(key=f"{state}-{page.url_path or 'studio'}", width="content"):
                st.page_link(page)


def tell_unknown_page() -> None:
    """Say once that there is no page at the address that was asked for."""
    name = st.query_params.pop(ASKED, "")
    if name:
        st.info(
            html.plain(f"There is no page “/{name[:MOST]}” here. This is the studio."),
            icon=":material/wrong_location:",
        )
