"""Galleries on both databases, a scripted image server, and the app itself without a browser."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
import streamlit as st
from PIL import Image
from sqlalchemy import Engine
from streamlit.runtime.context import ContextProxy
from streamlit.testing.v1 import AppTest

from tests.support.fake_service import FakeService
from tests.ui.postgres import postgres
from ui import connection, job
from ui.settings import load_settings
from ui.storage.database import prepare
from ui.storage.files import PictureFiles
from ui.storage.gallery import Gallery
from ui.storage.journal import Journal

ROOT = Path(__file__).parent.parent.parent
APP = str(ROOT / "ui" / "app.py")
OPEN_S = 60.0


def png(colour: str = "red", size: tuple[int, int] = (64, 64)) -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> sa.URL:
    """An empty, migrated database to make copies of, which is quicker than migrating each."""
    server = sa.make_url(load_settings({"TEXT2IMAGE_DATABASE_URL": postgres_url}).database_url)
    with _administration(server) as connection:
        connection.execute(sa.text("CREATE DATABASE migrated"))
    url = server.set(database="migrated")
    made = sa.create_engine(url)
    prepare(made)
    made.dispose()
    return url


@contextmanager
def _administration(url: sa.URL) -> Iterator[sa.Connection]:
    engine = sa.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty, migrated database of either kind."""
    if request.param == "sqlite":
        made = sa.create_engine(f"sqlite:///{tmp_path / 'gallery.db'}")
        prepare(made)
        yield made
        made.dispose()
        return
    template: sa.URL = request.getfixturevalue("migrated_postgres")
    name = f"t{uuid.uuid4().hex[:12]}"
    with _administration(template) as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE migrated"))
        made = sa.create_engine(template.set(database=name))
        yield made
        made.dispose()
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def files(tmp_path: Path) -> PictureFiles:
    made = PictureFiles(tmp_path / "pictures")
    made.prepare()
    return made


@pytest.fixture
def gallery(engine: Engine, files: PictureFiles) -> Gallery:
    return Gallery(engine, files, quota_bytes=10**7)


@pytest.fixture
def journal(engine: Engine) -> Journal:
    return Journal(engine)


@pytest.fixture
def service() -> Iterator[FakeService]:
    with FakeService() as fake:
        yield fake


@pytest.fixture
def installation(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """An installation of the studio in front of the scripted image server."""
    monkeypatch.setenv("TEXT2IMAGE_ADDRESS", service.address)
    monkeypatch.setenv("TEXT2IMAGE_DATA_DIR", str(tmp_path))
    # AppTest has no HTTP request, and so no cookies of its own.
    monkeypatch.setattr(ContextProxy, "cookies", property(lambda _self: {}))
    monkeypatch.setattr(job, "RETRY_DELAYS_S", (0.05,))
    monkeypatch.setattr(job, "LOADING_POLL_S", 0.05)
    yield
    connection.close()
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def visit(installation: None) -> Callable[..., AppTest]:
    """Opens the app as some visitor, by default always the same one."""

    def open_app(visitor: str = "ada", **query: str) -> AppTest:
        app = AppTest.from_file(APP, default_timeout=OPEN_S)
        app.session_state["_anonymous"] = visitor
        for name, value in query.items():
            app.query_params[name] = value
        return app

    return open_app
