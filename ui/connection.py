"""What all sessions share: one channel to the backend, one gallery, one registry of jobs."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from sqlalchemy import Engine

from client import Text2ImageClient, Tls
from ui.identity import Signer, load_signer
from ui.jobs import Jobs
from ui.monitor import Monitor
from ui.settings import PREFIX, Settings, load_settings
from ui.storage.database import prepare
from ui.storage.files import PictureFiles
from ui.storage.gallery import Gallery
from ui.storage.journal import Journal

LOG = logging.getLogger("inkling")


@dataclass(frozen=True, slots=True)
class Services:
    """The process's long-lived things."""

    settings: Settings
    signer: Signer
    service: Text2ImageClient
    engine: Engine
    gallery: Gallery
    journal: Journal
    jobs: Jobs
    monitor: Monitor


def services() -> Services:
    """The shared things, made at the first call.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database can't be reached; the next call tries again.
        OSError: the data folder can't be written.
    """
    return _open()


def close() -> None:
    """End jobs and connections, at the end of the process."""
    _open.clear()


def _release(shared: Services) -> None:
    shared.jobs.close()
    shared.monitor.close()
    shared.service.close()


@st.cache_resource(show_spinner=False, on_release=_release)
def _open() -> Services:
    settings = load_settings()
    signer = load_signer(settings.data_dir)
    engine = _engine(settings)
    gallery = Gallery(engine, PictureFiles(settings.data_dir / "pictures"), settings.quota_bytes)
    journal = Journal(engine)
    _recover(gallery, journal)
    service = _service(settings)
    jobs = Jobs(service, gallery, journal, settings.max_jobs)
    return Services(settings, signer, service, engine, gallery, journal, jobs, Monitor(service))


def _engine(settings: Settings) -> Engine:
    connection = st.connection("gallery", type="sql", url=settings.database_url, pool_pre_ping=True)
    engine: Engine = connection.engine
    prepare(engine)
    return engine


def _recover(gallery: Gallery, journal: Journal) -> None:
    """What the last end of the process left behind."""
    interrupted = journal.interrupt_open_jobs()
    purged = gallery.purge()
    removed = gallery.recover()
    if interrupted or purged or removed:
        LOG.warning(
            "recovered: %d jobs interrupted, %d deleted pictures purged, %d stray files removed",
            interrupted,
            purged,
            removed,
        )


def _service(settings: Settings) -> Text2ImageClient:
    ca = os.environ.get(f"{PREFIX}TLS_CA")
    return Text2ImageClient(
        settings.address,
        tls=Tls(ca=Path(ca)) if ca else None,
        api_key=os.environ.get(f"{PREFIX}API_KEY") or None,
    )
