"""catalog: the models, tools, schemas and templates that documents can name."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import MetaData, Table

from domain.catalog import CatalogEntryPlanted, CatalogEntryRemoved, CatalogEntrySet, Entry, Kind
from domain.message import tag_of
from projections.database.shape import ReadDatabase
from projections.paging import DEFAULT_LIMIT, Document, Listing, Page, document
from projections.projection import Fact, Projection, Rows
from projections.tables import ReadTable, doc, key, number

NAME = "catalog"


class CatalogRow(msgspec.Struct, kw_only=True):
    """entry: as it was set. is_planted: by a seed, and no person has changed it since."""

    tenant: str
    kind: str
    name: str
    version: int
    entry: dict[str, Any]
    is_planted: bool
    updated_at: str


def as_answered(row: CatalogRow) -> bytes:
    """The entry's own fields, and what became of it."""
    return msgspec.json.encode(
        {**row.entry, "is_planted": row.is_planted, "updated_at": row.updated_at, "version": row.version}
    )


ENTRIES = ReadTable(
    CatalogRow,
    Table(NAME, MetaData(), key("tenant"), key("kind"), key("name"), number("version"), doc()),
    written_once=True,
    render=as_answered,
)


def fold(rows: Rows, fact: Fact) -> None:
    match fact.event:
        case CatalogEntryPlanted(entry=entry):
            rows.put(ENTRIES, row_of(entry, fact, is_planted=True))
        case CatalogEntrySet(entry=entry):
            rows.put(ENTRIES, row_of(entry, fact, is_planted=False))
        case CatalogEntryRemoved(kind=kind, name=name):
            rows.remove(ENTRIES, fact.tenant, kind, name)


def row_of(entry: Entry, fact: Fact, *, is_planted: bool) -> CatalogRow:
    return CatalogRow(
        tenant=fact.tenant,
        kind=str(tag_of(entry)),
        name=entry.name,
        version=fact.version,
        entry=msgspec.to_builtins(entry),
        is_planted=is_planted,
        updated_at=fact.at,
    )


CATALOG_PROJECTION = Projection(NAME, 1, (ENTRIES,), fold, ("catalog",))


async def list_entries(
    read_db: ReadDatabase, tenant: str, kind: Kind, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None
) -> Page:
    """By name."""
    listing = Listing(NAME, tenant, {"name": str})
    listing.equal("kind", kind)
    return await listing.page(read_db, limit, cursor)


async def get_entry(read_db: ReadDatabase, tenant: str, kind: Kind, name: str) -> Document:
    """version: of the shelf's stream when the entry was last set. Raises `NotFound`."""
    return await document(read_db, "entry", NAME, tenant, kind=kind, name=name)
