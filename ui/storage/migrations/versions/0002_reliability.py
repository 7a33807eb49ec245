"""Searchable prompts, and the process that a job belongs to."""

import sqlalchemy as sa
from alembic import op

from ui.storage.picture import fold

revision = "0002"
down_revision = "0001"

PICTURES = sa.table("pictures", sa.column("id"), sa.column("prompt"), sa.column("prompt_folded"))
ROWS_AT_ONCE = 1000


def upgrade() -> None:
    folded = sa.Column("prompt_folded", sa.Text, nullable=False, server_default="")
    op.add_column("pictures", folded)
    op.add_column("jobs", sa.Column("runner", sa.String(80)))
    op.add_column("jobs", sa.Column("lease_until", sa.BigInteger))
    _fold_prompts()


def downgrade() -> None:
    op.drop_column("jobs", "lease_until")
    op.drop_column("jobs", "runner")
    op.drop_column("pictures", "prompt_folded")


def _fold_prompts() -> None:
    connection = op.get_bind()
    rows = connection.execute(sa.select(PICTURES.c.id, PICTURES.c.prompt)).all()
    update = (
        PICTURES.update()
        .where(PICTURES.c.id == sa.bindparam("picture"))
        .values(prompt_folded=sa.bindparam("folded"))
    )
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        connection.execute(update, [{"picture": r.id, "folded": fold(r.prompt)} for r in part])
