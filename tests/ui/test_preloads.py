"""Hints for Streamlit's scripts: all that the studio needs, each once."""

import re
from pathlib import Path

from streamlit import file_util

from ui.preloads import ELEMENTS, preloads

STATIC = Path(file_util.get_static_dir())
MAX_REQUESTS = 95  # scripts of a first visit: those of Streamlit's page and those of its elements


def test_every_element_of_the_studio_is_there_with_all_that_it_imports() -> None:
    named = re.findall(r'href="\./static/js/([^"]+)"', preloads())
    page = (STATIC / "index.html").read_text("utf-8")
    assert len(named) == len(set(named))
    assert all((STATIC / "static" / "js" / name).is_file() and name not in page for name in named)
    for element in set(ELEMENTS):
        assert any(name.startswith(f"{element}.") for name in named), element
    assert len(named) + page.count("./static/js/") <= MAX_REQUESTS


def test_imports_are_followed_and_what_the_page_names_is_left_out(tmp_path: Path) -> None:
    scripts = tmp_path / "static" / "js"
    scripts.mkdir(parents=True)
    (tmp_path / "index.html").write_text('<script src="./static/js/main.1.js">', "utf-8")
    (scripts / "Html.1.js").write_text(
        'import{a as b}from"./part.2.js";import"./main.1.js"', "utf-8"
    )
    (scripts / "part.2.js").write_text('import"./Html.1.js";import"./gone.3.js"', "utf-8")
    links = preloads(tmp_path)
    assert re.findall(r"js/([\w.]+)", links) == ["Html.1.js", "part.2.js"]
