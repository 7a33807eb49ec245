"""The Compare page: two pictures, or one recipe varied along two axes."""

from __future__ import annotations

import streamlit as st

from ui.components.grid import BATCH, bring_in_grid, earlier_grids, grid_planner, grid_result
from ui.components.header import page_header
from ui.components.pair import two_pictures

MODES = ("Two pictures", "Grid")


def main() -> None:
    page_header("Compare")
    bring_in_grid()
    default = MODES[1] if st.query_params.get(BATCH) else MODES[0]
    mode = st.segmented_control(
        "What to compare",
        MODES,
        key="mode",
        default=default,
        required=True,
        label_visibility="collapsed",
    )
    if mode == MODES[0]:
        two_pictures()
        return
    with st.container(border=True, key="planner"):
        grid_planner()
        earlier_grids()
    grid_result()


main()
