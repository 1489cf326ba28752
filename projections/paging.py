"""Lists: filters, and pages by keyset. The shapes in which queries answer.

Used by the queries of every read model. Its one rule: a page begins behind a row's sort key, never at a
number of rows, so that nothing is shown twice or left out while the list grows.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, NoReturn

import msgspec

from domain.errors import Fault, Invalid, NotFound
from projections.database.shape import ReadDatabase
from projections.projection import timestamp

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
LARGEST = 2**63 - 1


class Page(msgspec.Struct, frozen=True):
    """items_json: a JSON array, as it goes out. next_cursor: None on the last page."""

    items_json: bytes
    next_cursor: str | None = None

    @property
    def body(self) -> bytes:
        """The whole answer: `{"items": [...], "next_cursor": ...}`."""
        return b'{"items":%b,"next_cursor":%b}' % (self.items_json, msgspec.json.encode(self.next_cursor))


class Document(msgspec.Struct, frozen=True):
    """json: one resource, as it goes out. version: of its stream, for its ETag. varies: holds what can change
    without a new version."""

    json: bytes
    version: int
    varies: bool = False


class _Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    key: tuple[str | int, ...]
    filters: str
    tenant: str


class Listing:
    """One list of one tenant: its filters, collected by the query, and its order.

    order  columns that together are unique, and their types; `descending` turns all of them round
    """

    def __init__(
        self, view: str, tenant: str, order: Mapping[str, type[str] | type[int]], *, descending: bool = False
    ) -> None:
        self._view = view
        self._tenant = tenant
        self._order = order
        self._descending = descending
        self._conditions = ["tenant = :tenant"]
        self._parameters: dict[str, str | int] = {"tenant": tenant}

    def equal(self, column: str, value: str | int | None) -> None:
        if value is not None:
            self._add(f"{column} = :{column}", column, value)

    def one_of(self, column: str, values: Sequence[str]) -> None:
        if values:
            names = [f"{column}_{i}" for i in range(len(values))]
            self._conditions.append(f"{column} IN ({', '.join(f':{name}' for name in names)})")
            self._parameters.update(zip(names, sorted(values), strict=True))

    def contains(self, column: str, part: str | None) -> None:
        """`column` holds names as `folded` leaves them."""
        if part:
            escaped = folded(part).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            self._add(f"{column} LIKE :{column} ESCAPE '\\'", column, f"%{escaped}%")

    def holds(self, column: str, part: str | None) -> None:
        """Upper and lower case apart. Reads every row that the other filters leave."""
        if part:
            self._add(f"replace({column}, :{column}, '') <> {column}", column, part)

    def after(self, column: str, moment: datetime | None) -> None:
        if moment is not None:
            self._add(f"{column} > :after_{column}", f"after_{column}", timestamp(moment))

    def before(self, column: str, moment: datetime | None) -> None:
        if moment is not None:
            self._add(f"{column} < :before_{column}", f"before_{column}", timestamp(moment))

    def between(self, column: str, first: date | None, last: date | None) -> None:
        """Both ends belong to it."""
        if first is not None:
            self._add(f"{column} >= :first_{column}", f"first_{column}", first.isoformat())
        if last is not None:
            self._add(f"{column} <= :last_{column}", f"last_{column}", last.isoformat())

    def beyond(self, column: str, value: int | None) -> None:
        if value is not None:
            self._add(f"{column} > :beyond_{column}", f"beyond_{column}", min(max(value, 0), LARGEST))

    async def page(self, read_db: ReadDatabase, limit: int, cursor: str | None) -> Page:
        """Raises `Invalid` for a limit out of range and for a cursor that is not of this very list."""
        if not 1 <= limit <= MAX_LIMIT:
            refuse("limit", f"expected 1..{MAX_LIMIT}")
        for name, value in self._parameters.items():
            if isinstance(value, str) and not is_storable(value):
                refuse(name, "expected text without NUL")
        filters = self._filters_hash()
        after = self._begin(cursor, filters) if cursor is not None else ()
        rows = await read_db.fetch(self._statement(limit, bool(after)), self._with_key(after))
        shown = rows[:limit]
        items = ("[" + ",".join([row[0] for row in shown]) + "]").encode()
        more = len(rows) > limit
        return Page(items, write_cursor(shown[-1][1:], filters, self._tenant) if more else None)

    def _begin(self, cursor: str, filters: str) -> tuple[str | int, ...]:
        return read_cursor(cursor, filters, self._tenant, tuple(self._order.values()))

    def _add(self, condition: str, name: str, value: str | int) -> None:
        self._conditions.append(condition)
        self._parameters[name] = value

    def _filters_hash(self) -> str:
        told = msgspec.json.encode([self._view, sorted(self._parameters.items())])
        return hashlib.sha256(told).hexdigest()[:16]

    def _statement(self, limit: int, is_continued: bool) -> str:
        columns, direction = ", ".join(self._order), " DESC" if self._descending else ""
        conditions = list(self._conditions)
        if is_continued:
            places = ", ".join(f":key_{column}" for column in self._order)
            conditions.append(f"({columns}) {'<' if self._descending else '>'} ({places})")
        order = ", ".join(f"{column}{direction}" for column in self._order)
        where = " AND ".join(conditions)
        return f"SELECT doc, {columns} FROM {self._view} WHERE {where} ORDER BY {order} LIMIT {limit + 1}"  # noqa: S608

    def _with_key(self, after: Sequence[str | int]) -> dict[str, str | int]:
        key = {f"key_{column}": value for column, value in zip(self._order, after, strict=False)}
        return self._parameters | key


def folded(name: str) -> str:
    """A name as it is searched: upper and lower case alike, in every script."""
    return name.casefold()


def write_cursor(key: Sequence[Any], filters: str, tenant: str) -> str:
    packed = msgspec.json.encode(_Cursor(tuple(key), filters, tenant))
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def read_cursor(cursor: str, filters: str, tenant: str, types: tuple[type, ...]) -> tuple[str | int, ...]:
    """The sort key that a page begins behind. Raises `Invalid` for anything but a cursor of this list."""
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found = msgspec.json.decode(packed, type=_Cursor)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        refuse("cursor", "is none of ours; take `next_cursor` of the page before, as it is")
    if (found.filters, found.tenant) != (filters, tenant):
        refuse("cursor", "belongs to another list; begin again without it")
    if tuple(map(type, found.key)) != types or not all(map(is_storable, found.key)):
        refuse("cursor", "is none of ours; take `next_cursor` of the page before, as it is")
    return found.key


def is_storable(value: str | int) -> bool:
    """Whether both databases can hold it at all."""
    if isinstance(value, int):
        return abs(value) <= LARGEST
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


async def document(read_db: ReadDatabase, what: str, view: str, tenant: str, **key: str | int) -> Document:
    """The one row under a key. Raises `NotFound`."""
    where = "".join(f" AND {column} = :{column}" for column in key)
    select = f"SELECT doc, version FROM {view} WHERE tenant = :tenant{where}"  # noqa: S608 - our own names
    rows: Sequence[Any] = ()
    if all(map(is_storable, (tenant, *key.values()))):
        rows = await read_db.fetch(select, {"tenant": tenant, **key})
    if not rows:
        raise NotFound(f"there is no {what} {' '.join(str(part) for part in key.values())!r}")
    return Document(rows[0][0].encode(), rows[0][1])


def refuse(parameter: str, expectation: str) -> NoReturn:
    message = f"{parameter} {expectation}"
    raise Invalid(message, (Fault(parameter, expectation),))
