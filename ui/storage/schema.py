"""The gallery's tables. `migrations/` creates them; a test checks that both agree."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    text,
)

METADATA = MetaData()

# Times are milliseconds since 1970, sizes are pixels; every query filters by `owner`.
PICTURES = Table(
    "pictures",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("owner", String(80), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("job_id", String(32)),
    Column("batch_id", String(32)),
    Column("prompt", Text, nullable=False),
    Column("negative_prompt", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("guidance", Float, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("scheduler", String(40), nullable=False),
    Column("model", String(200), nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("mime_type", String(20), nullable=False),
    Column("num_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("favourite", Boolean, nullable=False),
    Column("deleted_at", BigInteger),
    # Normalised by `picture.fold`, since the databases fold letters differently.
    Column("clip_skip", Integer, nullable=False, server_default="1"),
    Column("strength", Float),  # if it began with a picture
    # Of `width` and `height`, which are the file's. With a strength of 0 it was enlarged alone.
    Column("upscale", Float, nullable=False, server_default="1"),
    Column("upscale_strength", Float, nullable=False, server_default="0.5"),
    Column("prompt_folded", Text, nullable=False, server_default=""),
)
Index("pictures_by_owner", PICTURES.c.owner, PICTURES.c.created_at, PICTURES.c.id)
Index(
    "pictures_by_batch",
    PICTURES.c.batch_id,
    sqlite_where=text("batch_id IS NOT NULL"),
    postgresql_where=text("batch_id IS NOT NULL"),
)


def group_of(table: Any) -> Any:
    """What names the click that made a picture, as SQL; an index holds this very expression."""
    columns = table.c
    return func.coalesce(columns.batch_id, columns.job_id, columns.id)


Index("pictures_by_group", PICTURES.c.owner, group_of(PICTURES), PICTURES.c.deleted_at)

JOBS = Table(
    "jobs",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("owner", String(80), nullable=False),
    Column("batch_id", String(32)),
    Column("cell", Integer),
    Column("state", String(20), nullable=False),
    Column("recipe", JSON, nullable=False),
    Column("error_code", String(40), nullable=False),
    Column("error_text", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("runner", String(80)),  # the process that works on it
    Column("lease_until", BigInteger),  # if expired, the runner has ended
)
Index("jobs_by_owner", JOBS.c.owner, JOBS.c.created_at)
Index("jobs_by_state", JOBS.c.state)

BATCHES = Table(
    "batches",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("owner", String(80), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("plan", JSON, nullable=False),
)
Index("batches_by_owner", BATCHES.c.owner, BATCHES.c.created_at)

# Guests join with `code`; `studio` is the installation that makes the pictures.
SESSIONS = Table(
    "sessions",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("owner", String(80), nullable=False),
    Column("studio", String(80), nullable=False),
    Column("code", String(12), nullable=False),
    Column("name", String(80), nullable=False),
    Column("theme", String(200), nullable=False),
    Column("rules", JSON, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
)
Index("sessions_by_code", SESSIONS.c.code, unique=True)
Index("sessions_by_studio", SESSIONS.c.studio, SESSIONS.c.created_at)

GUESTS = Table(
    "guests",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("session_id", String(32), nullable=False),
    Column("nickname", String(40), nullable=False),
    Column("consents", Boolean, nullable=False),  # to being shown on the wall and in the album
    Column("removed", Boolean, nullable=False),
    Column("joined_at", BigInteger, nullable=False),
    Column("counted_from", BigInteger, nullable=False),  # earlier pictures use up no allowance
)
Index("guests_by_session", GUESTS.c.session_id)

# Its id is that of its job and, once made, of its picture in the gallery.
GUEST_PICTURES = Table(
    "guest_pictures",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("session_id", String(32), nullable=False),
    Column("guest_id", String(32), nullable=False),
    Column("recipe", JSON, nullable=False),
    Column("state", String(20), nullable=False),
    Column("verdict", String(20), nullable=False),  # the host's
    Column("highlighted", Boolean, nullable=False),
    Column("error", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
)
Index("guest_pictures_by_session", GUEST_PICTURES.c.session_id, GUEST_PICTURES.c.created_at)

ALBUMS = Table(
    "albums",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("owner", String(80), nullable=False),
    Column("name", String(80), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("share_key", String(32)),  # links carry it; None: the album is not shared
)
Index("albums_by_owner", ALBUMS.c.owner, ALBUMS.c.created_at)

ALBUM_PICTURES = Table(
    "album_pictures",
    METADATA,
    Column("album_id", String(32), primary_key=True),
    Column("picture_id", String(32), primary_key=True),
)
Index("album_pictures_by_picture", ALBUM_PICTURES.c.picture_id)
