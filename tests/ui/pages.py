"""Reading and moving the app's pages without a browser."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from streamlit.testing.v1 import AppTest

from tests.ui.conftest import png
from ui.connection import services
from ui.recipe import Recipe
from ui.storage.gallery import Picture

Visit = Callable[..., AppTest]
OWNER = "s-ada"  # of the visitor that `visit` opens the app for
PATIENCE_S = 60.0
POLL_S = 0.05


def html_of(app: AppTest) -> str:
    """All HTML of our own on the page; fails where the page raised."""
    assert not app.exception, app.exception
    return " ".join(str(element.proto.body) for element in app.get("html"))


def wait_for(app: AppTest, seen: Callable[[AppTest], bool]) -> AppTest:
    """Run the page as its timer would, until something is seen on it."""
    end = time.monotonic() + PATIENCE_S
    while not seen(app):
        assert time.monotonic() < end, html_of(app)[-2000:]
        time.sleep(POLL_S)
        app.run()
    return app


def shows(text: str) -> Callable[[AppTest], bool]:
    """Whether a page shows this text in our HTML."""
    return lambda app: text in html_of(app)


def has(app: AppTest, key: str) -> bool:
    """Whether there is such a button."""
    return any(button.key == key for button in app.button)


def keys_of(app: AppTest) -> list[str]:
    """The keys of the page's buttons, in their order."""
    return [button.key for button in app.button if button.key]


def choose(app: AppTest, key: str, value: Any) -> AppTest:
    """Set a widget that AppTest has no list for, such as a segmented control."""
    widget: Any = app.get_by_key(key)
    widget.set_value(value)
    return app.run()


def on(page: str, app: AppTest, **query: str) -> AppTest:
    """The same visitor on another page."""
    app.run()
    app.switch_page(f"app_pages/{page}.py")
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def generate(app: AppTest, prompt: str = "a cat") -> AppTest:
    """Write a prompt and press Generate."""
    app.text_area(key="prompt").set_value(prompt)
    return app.button(key="generate").click().run()


def keep(
    prompt: str,
    seed: int = 1,
    colour: str = "red",
    owner: str = OWNER,
    job_id: str | None = None,
) -> Picture:
    """Put a picture into the gallery of the app under test."""
    recipe = Recipe(prompt, width=64, height=64, seed=seed, scheduler="ddim", model="fake")
    return services().gallery.add(owner, png(colour), recipe, job_id=job_id)
