"""Forms for a session's settings, at the start and while it runs."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

import streamlit as st
from streamlit import config

from ui.recipe import Abilities
from ui.session import shared
from ui.sessions.address import is_loopback, lan_addresses
from ui.sessions.room import Session
from ui.sessions.rules import Rules
from ui.web import base_path

AT_ONCE, APPROVE = "Show at once", "Approve first"
LENGTHS = {30: "30 minutes", 60: "1 hour", 120: "2 hours", 240: "4 hours", 480: "8 hours"}
DEFAULT_LENGTH = 120


def start_form() -> tuple[str, str, Rules, int] | None:
    """Returns name, theme, rules and minutes when the host presses the button."""
    with st.form("start-session", border=True):
        name = st.text_input("Name", max_chars=80, placeholder="Open day, room 2.14")
        theme = st.text_input(
            "Theme",
            max_chars=200,
            placeholder="Optional: animals that never met",
            help="Guests see it while they think, and the wall shows it all the time.",
        )
        minutes = st.selectbox(
            "It ends by itself after",
            list(LENGTHS),
            index=list(LENGTHS).index(DEFAULT_LENGTH),
            format_func=LENGTHS.__getitem__,
        )
        rules = rules_fields(Rules(), "start")
        if not st.form_submit_button("Start the session", type="primary", width="stretch"):
            return None
    if rules is None:
        return None
    return name, theme, rules, minutes


def limits_form(session: Session) -> Rules | None:
    """Returns the changed rules of a running session when the host presses the button."""
    with st.form("change-session", border=False):
        rules = rules_fields(session.rules, "change")
        return rules if st.form_submit_button("Save", type="primary") else None


def rules_fields(rules: Rules, key: str) -> Rules | None:
    """Draw the fields and return the rules; None if the address is invalid."""
    moderation = st.radio(
        "Pictures go to the wall",
        [AT_ONCE, APPROVE],
        index=int(rules.approve_first),
        horizontal=True,
        key=f"{key}-moderation",
        help="You can take a picture down at any time. With approval, guests are told of it.",
    )
    left, right = st.columns(2)
    per_guest = left.number_input(
        "Pictures for each guest", 1, 1000, rules.pictures_per_guest, key=f"{key}-per-guest"
    )
    per_minutes = right.number_input(
        "Counted over so many minutes (0: the whole session)",
        0,
        1440,
        rules.per_minutes,
        key=f"{key}-minutes",
    )
    address = st.selectbox(
        "Address that phones reach",
        _addresses(rules.address),
        accept_new_options=True,
        key=f"{key}-address",
        help="Found on this computer; choose another one or write it here if it is wrong.",
    )
    with st.expander("What the pictures are made with"):
        pinned = _pinned_fields(rules, key)
    text = _checked(address or "")
    if text is None:
        st.error("The address must look like http://192.168.1.20:8501.")
        return None
    return replace(
        pinned,
        pictures_per_guest=per_guest,
        per_minutes=per_minutes,
        approve_first=moderation == APPROVE,
        address=text,
    )


def _pinned_fields(rules: Rules, key: str) -> Rules:
    """Draw the fields of settings shared by all guests; returns the changed rules."""
    abilities = shared().monitor.abilities
    left, right = st.columns(2)
    steps = left.number_input(
        "Steps", 1, abilities.max_steps, min(rules.steps, abilities.max_steps), key=f"{key}-steps"
    )
    guidance = right.number_input(
        "Guidance", 0.0, 50.0, rules.guidance, step=0.5, key=f"{key}-guidance"
    )
    model = left.selectbox(
        "Model", _with(rules.model, abilities.models), format_func=_or_default, key=f"{key}-model"
    )
    scheduler = right.selectbox(
        "Noise scheduler",
        _with(rules.scheduler, abilities.schedulers),
        format_func=_or_default,
        key=f"{key}-scheduler",
    )
    sizes = st.multiselect(
        "Sizes that guests choose from (none: the model's own)",
        _sizes(abilities, rules),
        default=list(rules.sizes),
        format_func=lambda size: f"{size[0]} × {size[1]}",
        key=f"{key}-sizes",
    )
    per_request = left.number_input(
        "Pictures a request", 1, 4, rules.pictures_per_request, key=f"{key}-per-request"
    )
    max_waiting = right.number_input(
        "Queue is full at", 1, 1000, rules.max_waiting, key=f"{key}-max-waiting"
    )
    return replace(
        rules,
        steps=steps,
        guidance=guidance,
        model=model,
        scheduler=scheduler,
        sizes=tuple(sizes),
        pictures_per_request=per_request,
        max_waiting=max_waiting,
    )


def _with(current: str, offered: tuple[str, ...]) -> list[str]:
    return ["", *dict.fromkeys(name for name in (*offered, current) if name)]


def _or_default(name: str) -> str:
    return name or "the service's default"


def _sizes(abilities: Abilities, rules: Rules) -> list[tuple[int, int]]:
    own = abilities.trained_sizes or tuple(abilities.size_for(a) for a in ("1:1", "3:2", "2:3"))
    return list(dict.fromkeys((*own, *rules.sizes)))


def _addresses(current: str) -> list[str]:
    """Possible addresses of this studio, the most likely first."""
    port = config.get_option("server.port")
    scheme = "https" if config.get_option("server.sslCertFile") else "http"
    base = base_path(config.get_option("server.baseUrlPath"))
    hosts = [*lan_addresses(), "localhost"]
    found = [f"{scheme}://{host}:{port}{base}" for host in hosts]
    return list(dict.fromkeys([*([current] if current else []), *found]))


def _checked(address: str) -> str | None:
    try:
        parts = urlsplit(address.strip())
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return None
    is_short = len(address) <= 200 and address.isascii() and not parts.query and not parts.fragment
    return address.strip().rstrip("/") if is_address and is_short else None


def tell_reach(session_port: int) -> None:
    """Say whether phones can reach this computer, and what to do if not."""
    settings = shared().settings
    if is_loopback(settings.host):
        st.warning(
            "Phones can't reach this computer yet. Stop the studio and start it with "
            "`TEXT2IMAGE_UI_HOST=0.0.0.0 make demo`: then everybody on this network reaches the "
            "join page and the wall, and without your password nothing else.",
            icon=":material/wifi_off:",
        )
    elif settings.is_open:
        st.info(
            "This studio is open: everybody who reaches it can use all of it, these pages too.",
            icon=":material/lock_open:",
        )
    else:
        st.caption(
            "Everybody on this network reaches the join page and the wall on port "
            f"{session_port}, and without your password nothing else."
        )
