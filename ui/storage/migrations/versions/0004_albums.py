"""Albums, and an index for pictures that one click made."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    group = sa.text("coalesce(batch_id, job_id, id)")
    op.create_index("pictures_by_group", "pictures", ["owner", group, "deleted_at"])
    op.create_table(
        "albums",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("owner", sa.String(80), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("share_key", sa.String(32)),
    )
    op.create_index("albums_by_owner", "albums", ["owner", "created_at"])
    op.create_table(
        "album_pictures",
        sa.Column("album_id", sa.String(32), primary_key=True),
        sa.Column("picture_id", sa.String(32), primary_key=True),
    )
    op.create_index("album_pictures_by_picture", "album_pictures", ["picture_id"])


def downgrade() -> None:
    op.drop_table("album_pictures")
    op.drop_table("albums")
    op.drop_index("pictures_by_group", "pictures")
