"""The gallery: all pictures of this visitor."""

from __future__ import annotations

import streamlit as st

from ui.components import html
from ui.components.actions import MAX_ZIP, zip_button
from ui.components.cards import cards, chosen_ids
from ui.components.header import page_header
from ui.components.importer import STUDIO, drop_picture
from ui.components.lightbox import delete, lightbox, undo_bar
from ui.session import owner, shared
from ui.storage.gallery import PAGE_SIZE, Search

SORTS = ("Newest first", "Oldest first")
SIZES = {"Small": 150, "Large": 260}


def main() -> None:
    """Draw the page."""
    page_header("Gallery")
    search, min_width, choosing = _toolbar()
    undo_bar()
    total = shared().gallery.count(owner(), search)
    bulk = st.container()
    body = st.container(key="body")
    num_pages = max(1, -(-total // PAGE_SIZE))
    number = _pages(num_pages, total)
    pictures = shared().gallery.page(owner(), search, number)
    if choosing:
        with bulk:
            _bulk([picture.id for picture in pictures])
    with body:
        if pictures:
            cards(pictures, key="gallery", min_width=min_width, choosing=choosing)
        else:
            _nothing(search)
    lightbox(search)


def _toolbar() -> tuple[Search, int, bool]:
    """The controls above the grid: what to show, how large, and whether to choose."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        text = st.text_input(
            "Search prompts",
            key="q",
            placeholder="apple",
            icon=":material/search:",
            bind="query-params",
            width=260,
        )
        sort = st.selectbox("Sort", SORTS, key="sort", bind="query-params", width=160)
        size = st.segmented_control(
            "Size of the pictures",
            list(SIZES),
            key="cards",
            default="Small",
            required=True,
            persist_state="session",
            label_visibility="collapsed",
        )
        favourites = st.toggle("Favourites", key="fav", bind="query-params")
        choosing = st.toggle("Select", key="choosing")
        with st.popover("Import", icon=":material/upload:", key="import"):
            drop_picture("gallery")
    return Search(text or "", favourites, sort == SORTS[1]), SIZES[size or "Small"], choosing


def _pages(num_pages: int, total: int) -> int:
    with st.container(horizontal=True, horizontal_alignment="center", key="pages"):
        number = 1
        if num_pages > 1:
            number = st.pagination(num_pages, key="page", bind="query-params")
    if total:
        st.html(f'<p class="ink-count">{total:,} picture{"s" if total > 1 else ""}</p>')
    return number


def _bulk(on_page: list[str]) -> None:
    """What can be done with the chosen pictures."""
    chosen = chosen_ids()
    with st.container(horizontal=True, vertical_alignment="center", key="bulk"):
        st.markdown(f"{len(chosen)} chosen")
        st.button("All on this page", key="choose-page", on_click=chosen.update, args=(on_page,))
        st.button("None", key="choose-none", on_click=chosen.clear, disabled=not chosen)
        zip_button(sorted(chosen), "bulk")
        st.button(
            "Delete",
            key="bulk-delete",
            icon=":material/delete:",
            disabled=not chosen,
            on_click=_delete_chosen,
        )
        if len(chosen) > MAX_ZIP:
            st.caption(f"A zip file holds the first {MAX_ZIP}.")


def _delete_chosen() -> None:
    delete(sorted(chosen_ids()))
    chosen_ids().clear()


def _nothing(search: Search) -> None:
    found_nothing = bool(search.text or search.favourites)
    if found_nothing:
        what = f"“{search.text}”" if search.text else "your favourites"
        st.html(html.empty("Nothing here", f"Nothing matches {what}."))
    else:
        st.html(html.empty("No pictures yet", "What you make in the studio is kept here."))
    with st.container(horizontal=True, horizontal_alignment="center", key="nothing"):
        if found_nothing:
            st.button(
                "Show everything",
                icon=":material/filter_alt_off:",
                key="clear-search",
                on_click=_clear_search,
            )
        elif st.button("Make the first one", icon=":material/ink_pen:", key="first"):
            st.switch_page(STUDIO)


def _clear_search() -> None:
    st.session_state["q"] = ""
    st.session_state["fav"] = False


main()
