"""Alembic's scripts for the durable tables, run by `infrastructure.event_log.schema` only."""
