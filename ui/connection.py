"""Shared by all sessions: the channel to the backend, the gallery, the registry of jobs."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from sqlalchemy import Engine, create_engine

from client import Text2ImageClient, Tls
from ui.identity import Signer, load_signer
from ui.jobs import Jobs
from ui.monitor import Monitor
from ui.sessions.runner import Runner
from ui.sessions.sessions import Sessions
from ui.sessions.store import Store
from ui.settings import PREFIX, Settings, load_settings
from ui.shared_album import Shelf
from ui.storage.albums import Albums
from ui.storage.database import prepare
from ui.storage.database_lock import DatabaseLock
from ui.storage.files import PictureFiles
from ui.storage.gallery import Gallery
from ui.storage.journal import Journal
from ui.storage.quarantine import Quarantine
from ui.storage.recovery import Recovery, recover
from ui.upkeep import Upkeep

LOG = logging.getLogger("inkling")


@dataclass(frozen=True, slots=True)
class Services:
    """The process's long-lived objects."""

    settings: Settings
    signer: Signer
    service: Text2ImageClient
    engine: Engine
    lock: DatabaseLock
    gallery: Gallery
    albums: Albums
    journal: Journal
    jobs: Jobs
    monitor: Monitor
    recovery: Recovery
    upkeep: Upkeep
    sessions: Sessions
    runner: Runner


def services() -> Services:
    """The shared objects, created at the first call.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database can't be reached; the next call tries again.
        OSError: the data folder can't be written.
    """
    return _open()


def shelf() -> Shelf:
    """Where the routes find albums; raises as `services`."""
    found = services()
    return Shelf(found.albums, found.gallery, PictureFiles(found.settings.data_dir / "pictures"))


def close() -> None:
    """Stop jobs and close connections at shutdown."""
    _open.clear()


def _release(shared: Services) -> None:
    shared.upkeep.close()
    shared.runner.close()
    shared.jobs.close()
    shared.monitor.close()
    shared.service.close()
    shared.lock.release()
    shared.engine.dispose()


@st.cache_resource(show_spinner=False, on_release=_release)
def _open() -> Services:
    settings = load_settings()
    signer = load_signer(settings.data_dir)
    engine, lock = _engine(settings)
    files = PictureFiles(settings.data_dir / "pictures")
    gallery = Gallery(engine, files, settings.quota_bytes)
    journal = Journal(engine, signer.secret_for(f"studio on {socket.gethostname()}"))
    interrupted = journal.interrupt_lost_jobs()
    if interrupted:
        LOG.warning("recovery: %d jobs were interrupted", interrupted)
    recovery = _recover(engine, gallery, files, settings)
    service = _service(settings)
    jobs = Jobs(service, gallery, journal, settings.max_jobs)
    monitor = Monitor(service)
    store = Store(engine, signer.secret_for("sessions of this studio"))
    sessions = Sessions(store, gallery, lambda: monitor.abilities)
    return Services(
        settings=settings,
        signer=signer,
        service=service,
        engine=engine,
        lock=lock,
        gallery=gallery,
        albums=Albums(engine),
        journal=journal,
        jobs=jobs,
        monitor=monitor,
        recovery=recovery,
        upkeep=Upkeep(jobs, gallery, journal, lock),
        sessions=sessions,
        runner=Runner(sessions, service, gallery),
    )


def _engine(settings: Settings) -> tuple[Engine, DatabaseLock]:
    """Locked first: a newer version must not migrate what an older one uses."""
    engine = create_engine(settings.database_url, pool_pre_ping=True)
    lock = None
    try:
        lock = DatabaseLock(engine, settings.data_dir)
        prepare(engine)
    except BaseException:
        if lock is not None:
            lock.release()
        engine.dispose()
        raise
    return engine, lock


def _recover(engine: Engine, gallery: Gallery, files: PictureFiles, settings: Settings) -> Recovery:
    """Recover from the last shutdown or crash."""
    files.prepare()
    purged = gallery.purge()
    found = recover(engine, files, Quarantine(settings.data_dir))
    if purged:
        LOG.info("%d deleted pictures purged", purged)
    for sentence in found.sentences():
        LOG.warning("recovery: %s", sentence)
    return found


def _service(settings: Settings) -> Text2ImageClient:
    ca = os.environ.get(f"{PREFIX}TLS_CA")
    return Text2ImageClient(
        settings.address,
        tls=Tls(ca=Path(ca)) if ca else None,
        api_key=os.environ.get(f"{PREFIX}API_KEY") or None,
    )
