"""Starts the studio: `python -m streamlit run ui/streamlit_app.py` in the repository's root.

Serves Streamlit's app with our routes and headers, in one process on one port. The pages are in
`app.py`.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from streamlit import config

ROOT = Path(__file__).parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from ui import web  # noqa: E402
from ui.access import VisitorGuard, host_route  # noqa: E402
from ui.components.crash import show_crash  # noqa: E402
from ui.connection_limits import limit_connections  # noqa: E402
from ui.example_pictures import example_route  # noqa: E402
from ui.identity import Signer, load_signer  # noqa: E402
from ui.listeners import listen_on  # noqa: E402
from ui.memory import return_large_blocks  # noqa: E402
from ui.origin import OriginGuard  # noqa: E402
from ui.packed_static import PackedStatic  # noqa: E402
from ui.sessions.address import is_loopback  # noqa: E402
from ui.sessions.feed import Feed  # noqa: E402
from ui.sessions.guesses import Guesses  # noqa: E402
from ui.sessions.passes import Passes  # noqa: E402
from ui.sessions.routes import SessionRoutes, Shared  # noqa: E402
from ui.settings import Settings, SettingsError, load_settings  # noqa: E402
from ui.shared_album import Shelf, album_routes  # noqa: E402
from ui.storage.files import PictureFiles  # noqa: E402
from ui.storage.lock import hold  # noqa: E402
from ui.styled_page import StyledPage, style_route  # noqa: E402
from ui.unknown_page import UnknownPage  # noqa: E402
from ui.uploads import UploadLimit  # noqa: E402

LOG = logging.getLogger("inkling")


def _secrets(settings: Settings, signer: Signer) -> dict[str, Any]:
    """The secrets for `st.login`, if signing in is configured."""
    if settings.oidc is None:
        return {}
    return {
        "auth": {
            "redirect_uri": settings.oidc.redirect_uri,
            "cookie_secret": signer.secret_for("login cookie"),
            "client_id": settings.oidc.client_id,
            "client_secret": settings.oidc.client_secret,
            "server_metadata_url": settings.oidc.metadata_url,
        }
    }


def _end_streams_on_signals(feed: Feed) -> None:
    """The server would wait for them before it ends."""
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)

        def end(received: int, frame: Any, before: Any = before) -> None:
            feed.close()
            if callable(before):
                before(received, frame)

        with suppress(ValueError):  # not the main thread
            signal.signal(number, end)


@asynccontextmanager
async def _lifespan(_app: st.App) -> AsyncIterator[None]:
    """Open the gallery and start polling the backend before the first visitor."""
    from ui import connection

    try:
        services = connection.services()
    except Exception:  # the pages report it and try again
        LOG.exception("the gallery could not be opened")
    else:
        _end_streams_on_signals(services.sessions.feed)
    yield
    connection.close()


def _shared() -> Shared:
    from ui import connection

    services = connection.services()
    return Shared(services.sessions, services.runner, files)


def _shelf() -> Shelf:
    from ui import connection

    return connection.shelf()


try:
    settings = load_settings()
    listen_on(settings.host)
    hold(settings.data_dir)
    signer = load_signer(settings.data_dir)
except (SettingsError, OSError) as error:
    sys.exit(f"The studio can't start: {error}")

return_large_blocks()
limit_connections()
files = PictureFiles(settings.data_dir / "pictures")
passes, guesses = Passes(signer, settings.host_password), Guesses()
is_guarded = settings.oidc is None and not settings.is_open
if is_guarded and not is_loopback(settings.host):
    print(f"\n  The host's password, for other devices: {passes.password}\n", flush=True)
base = web.base_path(config.get_option("server.baseUrlPath"))
routes = [
    *web.routes(files, signer, base),
    *SessionRoutes(_shared, passes, guesses, base).routes(),
    host_route(passes, guesses, base),
    *album_routes(_shelf, signer, base),
    style_route(base),
    example_route(base),
]
app = st.App(
    Path(__file__).with_name("app.py"),
    secrets=_secrets(settings, signer),
    lifespan=_lifespan,
    routes=routes,
    middleware=[
        Middleware(OriginGuard, hosts=settings.allowed_hosts),
        Middleware(web.SecurityHeaders),
        *([Middleware(VisitorGuard, passes=passes, base=base)] if is_guarded else []),
        Middleware(web.IdentityCookie, signer=signer),
        Middleware(UploadLimit),
        Middleware(PackedStatic, base=base),
        Middleware(StyledPage),
        Middleware(UnknownPage, routes=routes, base=base),
    ],
    on_script_error=show_crash,
)
