"""Signing in by OpenID Connect, against a provider on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.e2e.browsing import Visitor
from tests.e2e.conftest import Enter
from tests.e2e.issuer import CLIENT_ID, CLIENT_SECRET, Issuer
from tests.e2e.processes import Backend, Studio
from tests.e2e.test_making import READY_MS


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as made:
        yield made


@pytest.fixture(scope="module")
def guarded(
    backend: Backend, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Studio]:
    """A studio that asks everybody to sign in."""
    made = Studio(tmp_path_factory.mktemp("guarded"), backend.address)
    made.configure(
        {
            "TEXT2IMAGE_OIDC_METADATA_URL": issuer.metadata_url,
            "TEXT2IMAGE_OIDC_CLIENT_ID": CLIENT_ID,
            "TEXT2IMAGE_OIDC_CLIENT_SECRET": CLIENT_SECRET,
            "TEXT2IMAGE_OIDC_REDIRECT_URI": f"{made.url}/oauth2callback",
        }
    )
    made.start()
    made.wait_ready()
    yield made
    made.stop()


def sign_in(visitor: Visitor) -> None:
    visitor.page.goto(visitor.url, wait_until="commit")
    visitor.button("Sign in").click()
    expect(visitor.page.locator(".st-key-wall button").first.or_(visitor.picture())).to_be_visible()


def test_pictures_follow_the_person_and_not_the_browser(
    enter: Enter, guarded: Studio, issuer: Issuer
) -> None:
    here, there = enter(guarded.url), enter(guarded.url)
    here.page.goto(f"{guarded.url}/gallery", wait_until="commit")
    expect(here.page.get_by_text("Welcome to Inkling")).to_be_visible()
    expect(here.page.get_by_label("Search prompts")).to_be_hidden()
    sign_in(here)
    here.generate("a red apple")
    expect(here.picture()).to_be_visible(timeout=READY_MS)
    sign_in(there)
    there.go("Gallery")
    thumbnail = there.page.locator("img.ink-thumb").first
    expect(thumbnail).to_be_visible()
    expect(thumbnail).to_have_js_property("complete", True)
    assert there.page.evaluate("document.querySelector('img.ink-thumb').naturalWidth") > 0
    issuer.subject = "eve"
    stranger = enter(guarded.url)
    sign_in(stranger)
    stranger.go("Gallery")
    expect(stranger.page.get_by_text("No pictures yet")).to_be_visible()
    issuer.subject = "ada"


def test_signing_out_closes_the_studio(enter: Enter, guarded: Studio) -> None:
    visitor = enter(guarded.url)
    sign_in(visitor)
    visitor.go("About")
    expect(visitor.page.get_by_text("Signed in as Ada")).to_be_visible()
    visitor.button("Sign out").click()
    expect(visitor.page.get_by_text("Welcome to Inkling")).to_be_visible()
