"""PostgreSQL arrays in the binary format, packed at once: a batch is a handful of them.

Called by the PostgreSQL writer. psycopg's own list dumper works element by element and picks a type by the
values, so that the statement's parameter types, and with them its prepared plan, would change from batch to
batch.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import ClassVar

from psycopg import AsyncConnection, Connection, pq
from psycopg.adapt import Buffer, Dumper

_HEADER = struct.Struct(">iiI")
_DIMENSION = struct.Struct(">ii")
_LENGTH = struct.Struct(">i")
_TEXT, _BYTEA, _INT8 = 25, 17, 20


class PgArray:
    """A one-dimensional array without nulls, ready to send. oid: of the array's type."""

    oid: ClassVar[int]

    __slots__ = ("packed",)

    def __init__(self, element_oid: int, count: int, elements: bytes) -> None:
        if count:
            head = _HEADER.pack(1, 0, element_oid) + _DIMENSION.pack(count, 1)
        else:
            head = _HEADER.pack(0, 0, element_oid)
        self.packed = head + elements


class Texts(PgArray):
    """`text[]`"""

    oid = 1009

    __slots__ = ()

    def __init__(self, items: Sequence[bytes]) -> None:
        super().__init__(_TEXT, len(items), _with_lengths(items))


class Blobs(PgArray):
    """`bytea[]`"""

    oid = 1001

    __slots__ = ()

    def __init__(self, items: Sequence[bytes]) -> None:
        super().__init__(_BYTEA, len(items), _with_lengths(items))


class Ints(PgArray):
    """`bigint[]`"""

    oid = 1016

    __slots__ = ()

    def __init__(self, items: Sequence[int]) -> None:
        fields = [8] * (2 * len(items))
        fields[1::2] = items
        super().__init__(_INT8, len(items), struct.pack(">" + "iq" * len(items), *fields))


def _with_lengths(items: Iterable[bytes]) -> bytes:
    return b"".join([part for item in items for part in (_LENGTH.pack(len(item)), item)])


class _ArrayDumper(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: PgArray) -> Buffer:
        return obj.packed


class _TextsDumper(_ArrayDumper):
    oid = Texts.oid


class _BlobsDumper(_ArrayDumper):
    oid = Blobs.oid


class _IntsDumper(_ArrayDumper):
    oid = Ints.oid


def register_arrays(connection: AsyncConnection[object] | Connection[object]) -> None:
    """Let a connection send the three kinds of arrays."""
    connection.adapters.register_dumper(Texts, _TextsDumper)
    connection.adapters.register_dumper(Blobs, _BlobsDumper)
    connection.adapters.register_dumper(Ints, _IntsDumper)
