"""Navigation between pages: beside the logo on desktops, at the bottom on phones."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import streamlit as st
from streamlit import config
from streamlit.navigation.page import StreamlitPage

from ui.components import html

UNKNOWN_PAGE = "_unknown_page"


def tabs(pages: Sequence[StreamlitPage], current: StreamlitPage) -> None:
    """A link to every page; style.css places them."""
    with st.container(horizontal=True, key="tabs", gap="small"):
        for page in pages:
            state = "here" if page is current else "tab"
            with st.container(key=f"{state}-{page.url_path or 'studio'}", width="content"):
                st.page_link(page)


def tell_unknown_page(pages: Sequence[StreamlitPage]) -> None:
    """Say once that a URL is unknown, since Streamlit silently opens the first page for it."""
    base = config.get_option("server.baseUrlPath").strip("/")
    path = urlsplit(st.context.url or "").path.strip("/")
    name = path.removeprefix(base).strip("/")
    known = {page.url_path for page in pages}
    if not name or name in known or st.session_state.get(UNKNOWN_PAGE) == name:
        return
    st.session_state[UNKNOWN_PAGE] = name
    st.info(
        html.plain(f"There is no page “/{name[:60]}” here. This is the studio."),
        icon=":material/wrong_location:",
    )
