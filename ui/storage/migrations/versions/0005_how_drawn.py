"""How a picture was drawn: clip skip, the strength over another picture, a second pass."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    with op.batch_alter_table("pictures") as pictures:
        pictures.add_column(sa.Column("clip_skip", sa.Integer, nullable=False, server_default="1"))
        pictures.add_column(sa.Column("strength", sa.Float))
        pictures.add_column(sa.Column("upscale", sa.Float, nullable=False, server_default="1"))
        pictures.add_column(
            sa.Column("upscale_strength", sa.Float, nullable=False, server_default="0.5")
        )


def downgrade() -> None:
    for name in ("upscale_strength", "upscale", "strength", "clip_skip"):
        op.drop_column("pictures", name)
