"""Read tables: a row struct, and the SQLAlchemy table that holds it as a JSON document beside its keys.

Used by every read-model file (one `ReadTable` each, or a few) and by the engine, which makes a copy of the
table for each build. Its one rule: `doc` is the whole row, so a query passes it on as it is and both
databases answer the same bytes; the other columns only find and order it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, cast

import msgspec
from sqlalchemy import BigInteger, Column, MetaData, Table, Text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql import quoted_name

R = TypeVar("R", bound=msgspec.Struct)
Key: TypeAlias = tuple[str | int, ...]
Values: TypeAlias = tuple[str | int | float | None, ...]

DIALECTS: dict[str, Dialect] = {"sqlite": sqlite.dialect(), "postgresql": postgresql.dialect()}  # type: ignore[no-untyped-call]

BYTEWISE = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Text that both databases order by its UTF-8 bytes."""


def key(name: str, *, is_number: bool = False) -> Column[Any]:
    """A column of the primary key."""
    return Column(name, BigInteger if is_number else BYTEWISE, primary_key=True, autoincrement=False)


def text(name: str) -> Column[Any]:
    """A column to filter and order by; it may be null."""
    return Column(name, BYTEWISE)


def number(name: str) -> Column[Any]:
    """A whole number to filter and order by; it may be null."""
    return Column(name, BigInteger)


def doc() -> Column[Any]:
    """The row as JSON, as queries answer it."""
    return Column("doc", Text, nullable=False)


class Shape(NamedTuple):
    """What a driver needs to know of one build's copy of a table."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    key: tuple[str, ...]


class ReadTable(Generic[R]):
    """A table and the struct of its rows.

    category      rows are one per stream of this category, under the stream's id as the only key
    written_once  rows are never read back by the fold, so the engine keeps none in memory
    render        the JSON that `doc` holds, where it is not simply the struct
    """

    def __init__(
        self,
        row: type[R],
        table: Table,
        *,
        category: str | None = None,
        written_once: bool = False,
        render: Callable[[R], bytes] = msgspec.json.encode,
    ) -> None:
        self.table = table
        self.name: str = table.name
        self.key = tuple(column.name for column in table.primary_key)
        self.columns = tuple(column.name for column in table.columns)
        self.category = category
        self.written_once = written_once
        self._render = render
        self._decode = msgspec.json.Decoder(row).decode
        self._plain = tuple(name for name in self.columns if name != "doc")

    def values(self, row: R) -> Values:
        """The row's columns, the document last. NUL, which PostgreSQL can not hold, becomes U+FFFD."""
        plain = [getattr(row, name) for name in self._plain]
        document = self._render(row).decode()
        return (*[v.replace("\0", "\ufffd") if isinstance(v, str) else v for v in plain], document)

    def key_of(self, row: R) -> Key:
        return tuple([getattr(row, name) for name in self.key])

    def row_of(self, document: str) -> R:
        return self._decode(document)

    def shape(self, suffix: str) -> Shape:
        """The copy whose name ends in `suffix` (`_v2_g1`)."""
        types = tuple(str(column.type.compile(DIALECTS["sqlite"])).lower() for column in self.table.columns)
        return Shape(f"{self.name}{suffix}", self.columns, types, self.key)

    def definition(self, suffix: str, dialect: str) -> list[str]:
        """The statements that make that copy, with its indexes."""
        name = f"{self.name}{suffix}"
        copy = self.table.to_metadata(MetaData(), name=name)
        statements = [str(CreateTable(copy).compile(dialect=DIALECTS[dialect]))]
        for index in sorted(copy.indexes, key=lambda index: str(index.name)):
            index.name = quoted_name(f"{name}_{index.name}", quote=None)
            statements.append(str(CreateIndex(index).compile(dialect=DIALECTS[dialect])))
        return statements


def statement(text_or_table: object, dialect: str) -> str:
    """A piece of DDL as the dialect writes it."""
    return str(cast("Any", text_or_table).compile(dialect=DIALECTS[dialect]))
