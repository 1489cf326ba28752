"""The event log on SQLite, PostgreSQL and in memory. `opening` chooses by URL; `schema` makes the tables.

opening.py      open_event_log(url): what the composition root calls
schema.py       migrate(url), schema_state(url), on the Alembic scripts in migrations/ that migrating.py runs
appender.py     group commit, shared by both databases; deciding.py is its rule, in Python and for SQLite
memory.py       sqlite.py       postgres.py       the three adapters of `application.ports.EventLog`
recorders.py    the same tables through the interface of the `eventsourcing` library
"""
