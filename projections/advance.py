"""One step forward: fold a batch, write the rows and the position, all in one statement or transaction.

Called by `projector.py`, in the writer's thread. Its one rule: the position moves by compare-and-set, so that
of two workers with the same batch exactly one has an effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from domain.errors import UnknownEvent
from domain.registry import EVENT_TYPES
from projections.bookkeeping import Record
from projections.database.shape import Move, Session
from projections.erasure import ERASED, fold_anew
from projections.projection import FOLD_ERRORS, Fact, Projection
from projections.rows import WorkingRows


class Fenced(Exception):
    """Another worker moved the build, or it is gone: read the bookkeeping again."""


class FoldFailed(Exception):
    """A fold raised. index: of the fact in the batch."""

    def __init__(self, build: Build, index: int, error: Exception) -> None:
        super().__init__(f"{build.projection.name}: {type(error).__name__}: {error}")
        self.index = index
        self.error = error


class Build:
    """A build as this worker knows it.

    parked  streams with dead letters, whose later events follow them there
    """

    def __init__(self, projection: Projection, record: Record, parked: frozenset[str]) -> None:
        self.projection = projection
        self.record = record
        self.position = record.position
        self.parked = parked
        self.stopped = record.stopped
        self.rows = WorkingRows(projection, record.suffix)

    @property
    def name(self) -> str:
        return self.projection.name


def advance(session: Session, builds: Sequence[Build], facts: Sequence[Fact]) -> None:
    """Fold facts, which follow the position at which all the builds are, into each of them.

    Raises `Fenced`, `FoldFailed`, and what the database raises; the caller then lets every build forget.
    """
    hold = Hold(session, builds)
    letters = [letter for build in builds for letter in fold(session, build, facts, hold)]
    for build in builds:
        build.rows.sweep(session)
    if letters:
        hold()
    changes = [change for build in builds for change in build.rows.changes()]
    if not session.change(changes, move(builds, facts[-1].position)):
        raise Fenced
    for letter in letters:
        write_dead_letter(session, letter)


class Hold:
    """Holds the rows of builds in a session, once and all of them: a transaction that holds one needs all."""

    def __init__(self, session: Session, builds: Sequence[Build]) -> None:
        self._session = session
        self._builds = builds
        self._is_held = False

    def __call__(self) -> None:
        if not self._is_held:
            self._session.lock(*[build.record.id for build in self._builds])
            self._is_held = True


def fold(session: Session, build: Build, facts: Sequence[Fact], hold: Hold) -> list[dict[str, Any]]:
    """Fold into the build's rows in memory. Returns the events of parked streams, as dead letters."""
    projection, rows = build.projection, build.rows
    concern = [fact for fact in facts if fact.category in projection.categories]
    rows.begin(session, concern, hold)
    letters = []
    for fact in concern:
        try:
            if fact.tag == ERASED and projection.is_refolded:
                letters += fold_erasure(session, build, fact)
                continue
            if fact.stream in build.parked:
                letters.append(dead_letter(build, fact, "an earlier event of this stream is parked"))
                continue
            if fact.tag not in EVENT_TYPES:
                raise UnknownEvent(f"position {fact.position}: unknown event {fact.tag!r}")
            projection.fold(rows, fact)
        except FOLD_ERRORS as error:
            raise FoldFailed(build, facts.index(fact), error) from error
    return letters


def fold_erasure(session: Session, build: Build, fact: Fact) -> list[dict[str, Any]]:
    """Nothing of the stream lies aside any more; but for the erasure itself, where a fold fails on what is
    left of the stream."""
    if fact.stream in build.parked:
        session.execute(
            "DELETE FROM kasal_dead_letters WHERE build_id = :id AND stream = :stream",
            {"id": build.record.id, "stream": fact.stream},
        )
    error = fold_anew(build.projection, build.rows, fact)
    if error is None:
        build.parked -= {fact.stream}
        return []
    build.parked |= {fact.stream}
    return [dead_letter(build, fact, str(error))]


def move(builds: Sequence[Build], position: int) -> Move:
    """All builds are at the same position, under the fence that they were loaded with."""
    return Move([(build.record.id, build.record.fence) for build in builds], builds[0].position, position)


def kind_of(error: Exception) -> str:
    """What went wrong, for the log: without the message, which may hold what the event says."""
    return type(error.error if isinstance(error, FoldFailed) else error).__name__


def dead_letter(build: Build, fact: Fact, error: str) -> dict[str, Any]:
    """A row of `kasal_dead_letters`."""
    return {
        "build_id": build.record.id,
        "position": fact.position,
        "stream": fact.stream,
        "version": fact.version,
        "tag": fact.tag,
        "body": fact.recorded.body,
        "metadata": msgspec.json.encode(fact.recorded.metadata).decode(),
        "error": error.replace("\0", "\ufffd")[:2_000],
    }


def write_dead_letter(session: Session, letter: dict[str, Any]) -> None:
    columns, places = ", ".join(letter), ", ".join(f":{column}" for column in letter)
    session.execute(f"INSERT INTO kasal_dead_letters ({columns}) VALUES ({places})", letter)  # noqa: S608
