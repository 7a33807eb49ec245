"""The gallery's tables. `migrations/` makes them; a test holds the two together."""

from __future__ import annotations

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
    text,
)

METADATA = MetaData()

# Times are milliseconds since 1970; sizes are pixels; `owner` stands in every query.
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
    # As `picture.fold` makes it: the databases themselves fold letters by their own ideas.
    Column("prompt_folded", Text, nullable=False, server_default=""),
)
Index("pictures_by_owner", PICTURES.c.owner, PICTURES.c.created_at, PICTURES.c.id)
Index(
    "pictures_by_batch",
    PICTURES.c.batch_id,
    sqlite_where=text("batch_id IS NOT NULL"),
    postgresql_where=text("batch_id IS NOT NULL"),
)

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
    Column("lease_until", BigInteger),  # the runner is gone where it has not been extended
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
