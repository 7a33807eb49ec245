"""The host's page without a browser."""

from __future__ import annotations

import pytest

from tests.ui.pages import OWNER, Visit, has, html_of, on
from tests.ui.sessions.conftest import wait_for
from ui.connection import services
from ui.sessions import address
from ui.sessions.room import PictureState, Room, Verdict
from ui.sessions.rules import Rules


def start(owner: str = OWNER) -> Room:
    rules = Rules(steps=1, address="http://192.168.1.20:8501")
    return services().sessions.start(owner, "Open <b>day</b>", "", rules, 60)


def test_a_session_is_started_with_what_the_form_holds(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ui.components.session_form.lan_addresses", lambda: ["192.168.7.7"])
    app = on("sessions", visit())
    assert "UI_HOST=0.0.0.0" in app.warning[0].value  # it listens on loopback
    app.text_input[0].set_value("Open day")
    app.number_input(key="start-per-guest").set_value(5)
    app.radio(key="start-moderation").set_value("Approve first")
    app.button[-1].click().run()
    (room,) = services().sessions.all()
    rules = room.session.rules
    assert (room.session.name, rules.pictures_per_guest, rules.approve_first) == (
        "Open day",
        5,
        True,
    )
    assert rules.address.startswith("http://192.168.7.7:")
    assert room.session.code[:4] in html_of(app)


def test_the_desk_hides_a_picture_and_shows_names_as_text(visit: Visit) -> None:
    app = on("sessions", visit())
    room = start()
    guest = services().sessions.join(room, "g1", "<i>Ada</i>", True)
    (picture,) = services().sessions.ask(room, guest, "a cat", None)
    wait_for(lambda: picture.state is PictureState.MADE)
    app.query_params["session"] = room.session.id
    app.run()
    assert "&lt;i&gt;Ada&lt;/i&gt;" in html_of(app)
    app.button(key=f"hide-{picture.id}").click().run()
    assert picture.verdict is Verdict.HIDDEN
    app.button(key="pause").click().run()
    assert room.session.paused
    assert has(app, "resume")


def test_another_s_session_is_seen_by_hosts_and_not_where_everybody_may_come_in(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = on("sessions", visit())
    room = start("s-another")
    app.run()
    assert has(app, f"open-session-{room.session.id}")
    settings = type(services().settings)
    monkeypatch.setattr(settings, "is_open", property(lambda _self: True))
    app.run()
    assert not has(app, f"open-session-{room.session.id}")
    app.query_params["session"] = room.session.id
    app.run()
    assert room.session.code[:4] not in html_of(app)


def test_the_address_that_leads_out_comes_first_and_inner_networks_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = address.lan_addresses()
    assert all(not address.is_loopback(one) for one in found)
    assert address.is_loopback("127.0.0.5")
    assert address.is_loopback("::1")
    assert not address.is_loopback("0.0.0.0")
    assert not address.is_loopback("")
    assert not address.is_loopback("inkling.local")
