"""Dead letters, folded again: `kasal projections retry`.

Called by `operations.py`, beside running projectors. Its one rule: a letter leaves the table in the
transaction that folds it, under a new fence, so that no projector goes on with rows or parked streams that it
remembers.
"""

from __future__ import annotations

from functools import partial

import msgspec
import structlog

from domain.message import Metadata, Recorded
from projections.advance import Build, FoldFailed, Hold, fold, kind_of
from projections.bookkeeping import records
from projections.database.shape import ReadDatabase, RowRefused, Session
from projections.projection import Projection, fact_of

log = structlog.get_logger()


class DeadLetter(msgspec.Struct, frozen=True):
    """A parked event and the last error of its fold."""

    position: int
    stream: str
    version: int
    tag: str
    body: bytes
    metadata: str
    error: str

    @property
    def recorded(self) -> Recorded:
        return Recorded(
            position=self.position,
            stream=self.stream,
            version=self.version,
            tag=self.tag,
            body=self.body,
            metadata=msgspec.json.decode(self.metadata, type=Metadata),
        )


COLUMNS = ", ".join(DeadLetter.__struct_fields__)


def letters_of(session: Session, build_id: int) -> list[DeadLetter]:
    """In the order of the log."""
    select = f"SELECT {COLUMNS} FROM kasal_dead_letters WHERE build_id = :id ORDER BY position"  # noqa: S608
    return [DeadLetter(*row) for row in session.fetch(select, {"id": build_id})]


async def replay(read_db: ReadDatabase, projection: Projection, build_id: int, letter: DeadLetter) -> bool:
    """Fold one letter, the first of its stream. Returns whether that went well."""
    try:
        await read_db.write(partial(fold_letter, projection=projection, build_id=build_id, letter=letter))
    except (FoldFailed, RowRefused) as error:
        fields = {"position": letter.position, "stream": letter.stream, "error": kind_of(error)}
        log.error("event stays parked", projection=projection.name, **fields)
        return False
    return True


def fold_letter(session: Session, projection: Projection, build_id: int, letter: DeadLetter) -> None:
    session.execute("UPDATE kasal_projections SET fence = fence + 1 WHERE id = :id", {"id": build_id})
    gone = session.execute(
        "DELETE FROM kasal_dead_letters WHERE build_id = :id AND position = :position",
        {"id": build_id, "position": letter.position},
    )
    record = next((r for r in records(session, projection.name) if r.id == build_id), None)
    if gone.rowcount == 1 and record is not None:
        build = Build(projection, record, frozenset())
        fold(session, build, [fact_of(letter.recorded)], Hold(session, [build]))
        build.rows.sweep(session)
        session.change(build.rows.changes())
