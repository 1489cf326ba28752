"""The engine's own two tables: which builds of which projection exist and how far they are, and dead letters.

Called inside the engine's transactions. Its one rule: rows change only together with the position that
accounts for them, or with the fence that tells every other worker that they did.

A build is one set of tables of a projection. `live` answers queries, under views that carry the tables' plain
names; `building` takes its place when it has caught up; `verifying` is compared with it and dropped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)
from sqlalchemy.schema import CreateIndex, CreateTable

from projections.database.shape import Session
from projections.projection import Projection
from projections.tables import statement

Role: TypeAlias = Literal["live", "building", "verifying"]

_METADATA = MetaData()

BUILDS = Table(
    "kasal_projections",
    _METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("role", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("tables", Text, nullable=False),
    Column("stopped", Text),
)
DEAD_LETTERS = Table(
    "kasal_dead_letters",
    _METADATA,
    Column("build_id", BigInteger),
    Column("position", BigInteger),
    Column("stream", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("tag", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("error", Text, nullable=False),
    PrimaryKeyConstraint("build_id", "position"),
    Index("kasal_dead_letters_by_stream", "build_id", "stream", "position"),
)


class Record(msgspec.Struct, frozen=True):
    """A row of `kasal_projections`.

    fence    changes whenever rows change by other means than advancing
    tables   the names of its tables, separated by spaces
    stopped  why it does not advance any more; None: it does
    """

    id: int
    name: str
    version: int
    generation: int
    role: Role
    position: int
    fence: int
    tables: str
    stopped: str | None = None

    @property
    def suffix(self) -> str:
        """What the names of this build's tables end in."""
        return suffix(self.version, self.generation)


COLUMNS = ", ".join(Record.__struct_fields__)


def suffix(version: int, generation: int) -> str:
    return f"_v{version}_g{generation}" if generation else f"_v{version}"


def set_up(session: Session) -> None:
    """Make the two tables where they do not exist. From here on no other session sets anything up."""
    session.serialise()
    for table in (BUILDS, DEAD_LETTERS):
        session.execute(statement(CreateTable(table, if_not_exists=True), session.dialect))
        for index in table.indexes:
            session.execute(statement(CreateIndex(index, if_not_exists=True), session.dialect))


def records(session: Session, name: str | None = None) -> list[Record]:
    """Every build, or those of one projection, oldest first."""
    rows = session.fetch(f"SELECT {COLUMNS} FROM kasal_projections ORDER BY id")  # noqa: S608 - our own names
    return [record for record in (Record(*row) for row in rows) if name in (None, record.name)]


def live_of(builds: Sequence[Record]) -> Record | None:
    return next((record for record in builds if record.role == "live"), None)


def create(session: Session, projection: Projection, role: Role) -> Record:
    """Empty tables for a new build; the views show them if it is live. The session must be alone."""
    existing = records(session)
    same = [r.generation for r in existing if (r.name, r.version) == (projection.name, projection.version)]
    generation = max(same, default=-1) + 1
    end = suffix(projection.version, generation)
    record = Record(
        id=max((r.id for r in existing), default=0) + 1,
        name=projection.name,
        version=projection.version,
        generation=generation,
        role=role,
        position=0,
        fence=time.time_ns(),
        tables=" ".join(f"{table.name}{end}" for table in projection.tables),
    )
    places = ", ".join(f":{column}" for column in Record.__struct_fields__)
    insert = f"INSERT INTO kasal_projections ({COLUMNS}) VALUES ({places})"  # noqa: S608 - our own names
    session.execute(insert, msgspec.structs.asdict(record))
    for table in projection.tables:
        for definition in table.definition(record.suffix, session.dialect):
            session.execute(definition)
    if role == "live":
        show(session, projection, record)
    return record


def show(session: Session, projection: Projection, record: Record) -> None:
    """Let the views, which queries read, show a build's tables."""
    for table in projection.tables:
        shape = table.shape(record.suffix)
        columns = ", ".join(shape.columns)
        session.execute(f"CREATE VIEW {table.name} AS SELECT {columns} FROM {shape.name}")  # noqa: S608


def hide(session: Session, record: Record) -> None:
    """No views on a build's tables."""
    for table in record.tables.split():
        session.execute(f"DROP VIEW IF EXISTS {table.removesuffix(record.suffix)}")


def drop(session: Session, record: Record) -> None:
    """No such build any more: its tables, its dead letters, its row."""
    if record.role == "live":
        hide(session, record)
    for table in record.tables.split():
        session.execute(f"DROP TABLE IF EXISTS {table}")
    session.execute("DELETE FROM kasal_dead_letters WHERE build_id = :id", {"id": record.id})
    session.execute("DELETE FROM kasal_projections WHERE id = :id", {"id": record.id})
