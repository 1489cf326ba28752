"""The keys that streams' contents are sealed with, each wrapped by the installation's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "kasal_keys",
        sa.Column("stream", NAME, primary_key=True),
        sa.Column("wrapping", sa.Text, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
    )
