"""Contents in parts, of an owner and a tenant. The table that release 0001 made was never written."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.drop_table("kasal_contents")
    op.create_table(
        "kasal_contents",
        sa.Column("digest", NAME, primary_key=True),
        sa.Column("owner", NAME, primary_key=True),
        sa.Column("number", BIGINT, primary_key=True, autoincrement=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("total_bytes", BIGINT, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("kasal_contents_owner", "kasal_contents", ["owner"])
