"""The router: the pages and what they share. Served by `streamlit_app.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))

from ui.components.drop import drop_anywhere  # noqa: E402
from ui.components.header import NAME  # noqa: E402
from ui.components.keys import keys  # noqa: E402
from ui.components.sign_in import require_sign_in  # noqa: E402
from ui.components.tabs import tabs, tell_unknown_page  # noqa: E402

ICON = HERE / "images" / "icon.png"
LOGO = {"light": HERE / "images" / "logo-light.svg", "dark": HERE / "images" / "logo-dark.svg"}

st.set_page_config(page_title=NAME, page_icon=str(ICON), layout="wide")
theme = st.context.theme.type or "light"
# Dialogs and popovers are outside .stApp, which is the only element with the theme.
scheme = f"body {{ color-scheme: {theme}; }}"
st.html(f"<style>{scheme}</style>")
st.logo(str(LOGO[theme]), size="large")

require_sign_in()
pages = [
    st.Page("app_pages/studio.py", title="Studio", icon=":material/ink_pen:", default=True),
    st.Page("app_pages/gallery.py", title="Gallery", icon=":material/photo_library:"),
    st.Page("app_pages/sessions.py", title="Sessions", icon=":material/groups:"),
    st.Page("app_pages/compare.py", title="Compare", icon=":material/compare:"),
    st.Page("app_pages/status.py", title="Status", icon=":material/monitor_heart:"),
    st.Page("app_pages/about.py", title="About", icon=":material/info:"),
]
page = st.navigation(pages, position="hidden")
st.set_page_config(page_title=f"{page.title} · {NAME}")
tabs(pages, page)
keys()
tell_unknown_page()
page.run()
drop_anywhere()
