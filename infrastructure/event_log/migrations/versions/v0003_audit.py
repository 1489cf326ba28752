"""The hash tree over the log: its tiles, and the signed checkpoints, which are only ever added to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

SQLITE_GUARD = """
    CREATE TRIGGER kasal_checkpoints_{what} BEFORE {what} ON kasal_checkpoints
    BEGIN SELECT RAISE(ABORT, 'checkpoints are only ever added to'); END
"""
POSTGRES_GUARD = """
    CREATE FUNCTION kasal_keep_checkpoints() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'checkpoints are only ever added to'; END $$;
    CREATE TRIGGER kasal_checkpoints_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON kasal_checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION kasal_keep_checkpoints()
"""


def upgrade() -> None:
    op.create_table(
        "kasal_tiles",
        sa.Column("level", BIGINT, primary_key=True, autoincrement=False),
        sa.Column("number", BIGINT, primary_key=True, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "kasal_checkpoints",
        sa.Column("size", BIGINT, primary_key=True, autoincrement=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    if op.get_context().dialect.name == "postgresql":
        op.get_bind().exec_driver_sql(POSTGRES_GUARD)
    else:
        for what in ("UPDATE", "DELETE"):
            op.get_bind().exec_driver_sql(SQLITE_GUARD.format(what=what))
