"""Where an ended execution went: out of the read tables, and into files where somebody wanted them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from domain.message import Event

MAX_FILES = 10


class ArchivedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """name: within the place. sha256: of the whole file, in hexadecimal."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class ExecutionArchived(Event, frozen=True, tag="execution.archived"):
    """The read tables drop it; nothing can be done to it any more. The log keeps every event.

    place  where the files are, in the words of whoever wrote them. files: () where it was only dropped
    """

    place: str = ""
    files: tuple[ArchivedFile, ...] = ()
