"""What both read databases offer, and the two ways a write can fail that are not the database being away.

Used by the engine and by the queries. A database that can not be reached raises `domain.errors.Unavailable`;
one whose tables are still to be built, `NotCaughtUp`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar

from projections.tables import Key, Shape, Values

if TYPE_CHECKING:
    from projections.positions import Positions

T = TypeVar("T")
Parameters: TypeAlias = Mapping[str, str | int | float | None]
Row: TypeAlias = tuple[Any, ...]

NOTHING: Parameters = {}


class RowRefused(Exception):
    """The database refuses a value: the row is at fault, not the database."""


class Damaged(Exception):
    """A table or column is missing that the engine made: only a rebuild helps."""


class Change(NamedTuple):
    """What is to be in one table: rows that are put there, and keys of rows that are not there any more."""

    shape: Shape
    kept: Sequence[Values]
    gone: Sequence[Key]


class Move(NamedTuple):
    """Builds, each as (id, fence), that go from one position to another."""

    builds: Sequence[tuple[int, int]]
    at: int
    to: int


class Counted(Protocol):
    """How many rows a statement touched."""

    @property
    def rowcount(self) -> int: ...


class Session(Protocol):
    """One transaction, used in the thread that holds its connection."""

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        ...

    def fetch(self, statement: str, parameters: Parameters = NOTHING) -> list[Row]: ...

    def execute(self, statement: str, parameters: Parameters = NOTHING) -> Counted: ...

    def documents(self, shape: Shape, keys: Sequence[Key]) -> list[str]:
        """The `doc` of every row that exists under one of the keys, in any order."""
        ...

    def change(self, changes: Sequence[Change], move: Move | None = None) -> bool:
        """Write the rows and move the builds by compare-and-set, one change for each table.

        All or nothing: False when one of the builds is not there, under this fence, at this position. In a
        session that has done nothing before it is all there is, and committed; more needs `lock` first.
        """
        ...

    def sweep(self, shape: Shape, beginning: Key) -> None:
        """Delete every row whose key begins so."""
        ...

    def lock(self, *build_ids: int, within_s: int = 10) -> None:
        """Nobody else moves, switches or mends these builds before the session ends.

        Whoever touches a build's tables holds its row first, so that no two wait for one another.
        within_s: how long this and all later locks of the session are waited for.
        """
        ...

    def serialise(self) -> None:
        """From here to the end, no other process sets tables up or switches them."""
        ...

    def analyse(self, shape: Shape) -> None:
        """Let the planner see what is in a table that was just filled."""
        ...


class Snapshot(Protocol):
    """One moment of the whole database, for as long as it is open."""

    async def fetch(self, statement: str, parameters: Parameters = NOTHING) -> list[Row]: ...


class ReadDatabase(Protocol):
    """Read tables: many readers, one writer thread (on PostgreSQL a second one for builds)."""

    positions: Positions

    async def fetch(self, statement: str, parameters: Parameters = NOTHING) -> list[Row]:
        """Every row of a query. Raises `Unavailable`, or `NotCaughtUp` while a table is still to be built."""
        ...

    async def write(self, work: Callable[[Session], T], *, background: bool = False) -> T:
        """Run `work` in one transaction, committed when it returns and rolled back when it raises.

        Commits do not wait for the disk: after a crash of the machine the tables and their positions are
        those of a moment before, and the log fills them again. Raises `Unavailable`, `RowRefused`, `Damaged`,
        and what `work` raises.
        """
        ...

    async def forget_old_pages(self) -> None:
        """What was deleted is not left lying in a write-ahead file of ours. Raises `Unavailable`."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]: ...

    async def close(self) -> None:
        """Let what runs come to its end, then let go of every connection and thread."""
        ...
