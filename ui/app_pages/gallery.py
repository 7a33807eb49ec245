"""The Gallery page: all pictures of this visitor."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui.components import html
from ui.components.actions import MAX_ZIP, zip_button
from ui.components.albums import add_to_album, album_bar, album_filter, remove_button
from ui.components.cards import chosen_ids, stacks
from ui.components.header import page_header
from ui.components.importer import STUDIO, drop_picture
from ui.components.lightbox import delete, lightbox, undo_bar
from ui.session import owner, shared
from ui.storage.albums import Album
from ui.storage.gallery import PAGE_SIZE, Search

GROUP = "group"  # the query parameter that shows the pictures of one click alone
PLACE = "_gallery_place"
KEPT = ("q", "sort", "fav", "page", "part")  # widgets that Streamlit forgets with the page
SORTS = ("Newest first", "Oldest first")
SIZES = {"Small": 150, "Large": 260}


def main() -> None:
    page_header("Gallery")
    _come_back()
    search, album, min_width, choosing = _toolbar()
    undo_bar()
    if search.group:
        _group_bar(search)
    elif album is not None:
        album_bar(album)
    total = shared().gallery.count(owner(), search)
    bulk = st.container()
    body = st.container(key="body")
    together = not search.group
    num_cards = shared().gallery.count_stacks(owner(), search) if together else total
    number = _pages(max(1, -(-num_cards // PAGE_SIZE)), total, "page" if together else "part")
    found = shared().gallery.stacks(owner(), search, number, together=together)
    if choosing:
        with bulk:
            _bulk([picture_id for stack in found for picture_id in stack.picture_ids], album)
    with body:
        if found:
            stacks(
                found, key="gallery", min_width=min_width, choosing=choosing, on_open=_open_group
            )
        else:
            _nothing(search, album)
    lightbox(search)
    _remember(search)


def _come_back() -> None:
    """Bring the last search and page back, unless this is another run or the address says more."""
    if "q" in st.session_state or st.query_params:
        return
    place: dict[str, Any] = dict(st.session_state.get(PLACE, {}))
    group = place.pop(GROUP, "")
    if group:
        st.query_params[GROUP] = group
    st.session_state.update(place)


def _remember(search: Search) -> None:
    """Note what is shown, for when the visitor comes back from another page."""
    kept = {key: st.session_state[key] for key in KEPT if key in st.session_state}
    st.session_state[PLACE] = {**kept, GROUP: search.group}


def _toolbar() -> tuple[Search, Album | None, int, bool]:
    """The controls above the grid: filter, size and selection mode."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        text = st.text_input(
            "Search prompts",
            key="q",
            placeholder="apple",
            icon=":material/search:",
            bind="query-params",
            width=260,
        )
        album = album_filter(on_change=_open_group)
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
    search = Search(
        text or "",
        favourites,
        sort == SORTS[1],
        group=st.query_params.get(GROUP, ""),
        album=album.id if album else "",
    )
    return search, album, SIZES[size or "Small"], choosing


def _group_bar(search: Search) -> None:
    """Above the pictures of one click: what they are, and the way back."""
    with st.container(horizontal=True, vertical_alignment="center", key="group-bar"):
        st.button(
            "All pictures", key="leave-group", icon=":material/arrow_back:", on_click=_open_group
        )
        st.markdown("Pictures that were made together")


def _open_group(group: str = "") -> None:
    """Show the pictures of one click alone, or all again."""
    st.session_state.pop("part", None)
    if group:
        st.query_params[GROUP] = group
    else:
        st.query_params.pop(GROUP, None)


def _pages(num_pages: int, total: int, key: str) -> int:
    with st.container(horizontal=True, horizontal_alignment="center", key="pages"):
        number = 1
        if st.session_state.get(key, 1) > num_pages:
            st.session_state[key] = num_pages  # pictures were deleted meanwhile
        if num_pages > 1:
            number = st.pagination(num_pages, key=key, bind="query-params")
    if total:
        st.html(f'<p class="ink-count">{total:,} picture{"s" if total > 1 else ""}</p>')
    return number


def _bulk(on_page: list[str], album: Album | None) -> None:
    """Actions for the selected pictures."""
    chosen = chosen_ids()
    with st.container(horizontal=True, vertical_alignment="center", key="bulk"):
        st.markdown(f"{len(chosen)} chosen")
        st.button("All on this page", key="choose-page", on_click=chosen.update, args=(on_page,))
        st.button("None", key="choose-none", on_click=chosen.clear, disabled=not chosen)
        zip_button(sorted(chosen), "bulk")
        add_to_album(sorted(chosen), "bulk")
        if album is not None:
            remove_button(album, sorted(chosen), "bulk")
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


def _nothing(search: Search, album: Album | None) -> None:
    found_nothing = bool(search.text or search.favourites)
    if album is not None and not found_nothing:
        how = "Select pictures in the gallery, and put them in with “Album”."
        st.html(html.empty("An empty album", how))
        return
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
