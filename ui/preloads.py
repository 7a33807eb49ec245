"""Hints for the browser to fetch the studio's parts at once.

Streamlit loads the script of each kind of element only when the first one arrives, one after the
other; the page would grow piece by piece.
"""

from __future__ import annotations

import re
from pathlib import Path

from streamlit import file_util

ELEMENTS = (
    "Html",
    "PageLink",
    "BidiComponent",
    "TextArea",
    "Button",
    "ButtonGroup",
    "FileUploader",
)
IMPORTED = re.compile(r"""(?:from|import)\s*["'`]\./([\w.-]+\.js)["'`]""")
HASHED = "[!.]*"  # a name is ELEMENT.HASH.js


def preloads(folder: Path | None = None) -> str:
    """Links for the head of Streamlit's page; `folder` holds its page and its scripts.

    Scripts that the page names itself are left out, and so are elements that this version of
    Streamlit keeps elsewhere.
    """
    folder = folder or Path(file_util.get_static_dir())
    scripts = folder / "static" / "js"
    page = (folder / "index.html").read_text("utf-8")
    found: dict[str, None] = {}
    for element in ELEMENTS:
        for path in sorted(scripts.glob(f"{element}.{HASHED}.js"))[:1]:
            _follow(path, found)
    return "".join(
        f'<link rel="modulepreload" crossorigin href="./static/js/{name}">'
        for name in found
        if name not in page
    )


def _follow(path: Path, found: dict[str, None]) -> None:
    """Add a script and those that it imports."""
    if path.name in found or not path.is_file():
        return
    found[path.name] = None
    for name in IMPORTED.findall(path.read_text("utf-8")):
        _follow(path.with_name(name), found)
