"""Alembic's entry: runs the scripts on the connection and in the transaction of `schema.migrate`."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="kasal_schema")
context.run_migrations()
