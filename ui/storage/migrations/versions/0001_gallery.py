"""The gallery: pictures, jobs and batches."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_pictures()
    _create_jobs()
    _create_batches()


def downgrade() -> None:
    for table in ("batches", "jobs", "pictures"):
        op.drop_table(table)


def _create_pictures() -> None:
    op.create_table(
        "pictures",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("owner", sa.String(80), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("job_id", sa.String(32)),
        sa.Column("batch_id", sa.String(32)),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("negative_prompt", sa.Text, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("steps", sa.Integer, nullable=False),
        sa.Column("guidance", sa.Float, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("scheduler", sa.String(40), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("duration_ms", sa.Integer, nullable=False),
        sa.Column("mime_type", sa.String(20), nullable=False),
        sa.Column("num_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("favourite", sa.Boolean, nullable=False),
        sa.Column("deleted_at", sa.BigInteger),
    )
    op.create_index("pictures_by_owner", "pictures", ["owner", "created_at", "id"])
    has_batch = sa.text("batch_id IS NOT NULL")
    op.create_index(
        "pictures_by_batch",
        "pictures",
        ["batch_id"],
        sqlite_where=has_batch,
        postgresql_where=has_batch,
    )


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("owner", sa.String(80), nullable=False),
        sa.Column("batch_id", sa.String(32)),
        sa.Column("cell", sa.Integer),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("recipe", sa.JSON, nullable=False),
        sa.Column("error_code", sa.String(40), nullable=False),
        sa.Column("error_text", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
    )
    op.create_index("jobs_by_owner", "jobs", ["owner", "created_at"])
    op.create_index("jobs_by_state", "jobs", ["state"])


def _create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("owner", sa.String(80), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("plan", sa.JSON, nullable=False),
    )
    op.create_index("batches_by_owner", "batches", ["owner", "created_at"])
