"""The statement that appends a batch, with what is stored beside its events: contents, and keys.

Called by the PostgreSQL writer. Its one rule: it is one statement, so that what stands beside the events is
committed with them, and a key only if its stream's first event is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TypeAlias

from application.ports import Append
from infrastructure.event_log.postgres_arrays import Blobs, Ints, PgArray, Texts
from infrastructure.event_log.postgres_batch import part_columns
from infrastructure.event_log.rows import CONTENT_COLUMNS

Arrays: TypeAlias = tuple[PgArray, ...]

APPEND = "SELECT * FROM kasal_append(%b,%b,%b,%b,%b,%b,%b,%b,%b,%b,%b,%b,%b,%b,%b,%b,%b,%b,%b)"

NEW_PARTS = (
    f"INSERT INTO kasal_contents ({CONTENT_COLUMNS}) SELECT * FROM unnest"  # noqa: S608 -- constants only
    "(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::bigint[], %b::bytea[]) ON CONFLICT DO NOTHING"
)
ACCEPTED = "done.head IS NOT NULL OR done.outcomes[x.command] = 0"

NEW_KEYS = f"""keyed AS (
    INSERT INTO kasal_keys (stream, wrapping, wrapped) SELECT x.stream, x.wrapping, x.wrapped
    FROM done CROSS JOIN unnest(%b::bigint[], %b::text[], %b::text[], %b::bytea[])
        AS x (command, stream, wrapping, wrapped)
    WHERE {ACCEPTED})"""  # noqa: S608 -- constants only

ERASED = f"""erased AS (
    SELECT x.stream FROM done CROSS JOIN unnest(%b::bigint[], %b::text[]) AS x (command, stream)
    WHERE {ACCEPTED}),
dropped AS (UPDATE kasal_keys k SET wrapped = '' FROM erased WHERE k.stream = erased.stream),
emptied AS (DELETE FROM kasal_contents c USING erased WHERE c.owner = erased.stream)"""  # noqa: S608


def with_rows_beside(batch: Sequence[Append]) -> tuple[str, Arrays, Arrays]:
    """The statement, and its parameters before and behind those of `kasal_append`."""
    parts = [part for append in batch for part in append.contents]
    keys = [(number, append.key) for number, append in enumerate(batch, 1) if append.key is not None]
    erased = [(number, append.stream) for number, append in enumerate(batch, 1) if append.erases]
    behind: Arrays = ()
    if keys:
        behind += (
            Ints([number for number, _ in keys]),
            Texts([key.stream.encode() for _, key in keys]),
            Texts([key.wrapping.encode() for _, key in keys]),
            Blobs([key.wrapped for _, key in keys]),
        )
    if erased:
        behind += (Ints([number for number, _ in erased]), Texts([stream.encode() for _, stream in erased]))
    return _statement(bool(parts), bool(keys), bool(erased)), part_columns(parts) if parts else (), behind


@cache
def _statement(with_parts: bool, with_keys: bool, with_erased: bool) -> str:
    if not (with_parts or with_keys or with_erased):
        return APPEND
    tables = [
        *([f"kept AS ({NEW_PARTS})"] if with_parts else []),
        f"done AS ({APPEND})",
        *([NEW_KEYS] if with_keys else []),
        *([ERASED] if with_erased else []),
    ]
    return f"WITH {', '.join(tables)} SELECT * FROM done"  # noqa: S608 -- constants only
