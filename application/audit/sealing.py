"""What the audit asks of whoever holds the keys of contents: what is stored, as it was recorded.

Implemented by the sealed log (`infrastructure/sealing/log.py`), and here for a log that seals nothing. Its
one rule: proofs are over what is stored; what is opened is only shown, or held against a digest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from application.audit.ports import TextPart
from application.log_port import Append, Appended, EventLog
from domain.message import Recorded

OpenedWith: TypeAlias = Callable[[bytes, Recorded], bytes]
"""(secret of its stream, event as it is stored): its body as it was recorded. b"": the key is destroyed."""


class Seals(Protocol):
    """Opens what a log stores."""

    async def opened(self, events: Sequence[Recorded]) -> Sequence[Recorded]:
        """As they were recorded; without their contents where these are erased. Raises `LogUnavailable`."""
        ...

    async def opened_texts(self, parts: Sequence[TextPart]) -> Sequence[TextPart]:
        """Parts of large texts as they were sent; one that does not open stays as it is stored."""
        ...

    async def secret_of(self, stream: str) -> bytes | None:
        """The key of a stream's contents; b"" where it is destroyed, None for a stream that has none."""
        ...


class Unsealed:
    """`Seals` over a log that is stored as it was recorded."""

    async def opened(self, events: Sequence[Recorded]) -> Sequence[Recorded]:
        return events

    async def opened_texts(self, parts: Sequence[TextPart]) -> Sequence[TextPart]:
        return parts

    async def secret_of(self, stream: str) -> bytes | None:
        return None


class ImportLog(EventLog, Protocol):
    """A log that takes what another one has stored."""

    async def append_stored(self, append: Append) -> Appended:
        """As `append`; the events are as they were stored elsewhere."""
        ...

    async def put_secret(self, stream: str, secret: bytes) -> None:
        """The key of a stream that is about to be imported; b"": it is destroyed."""
        ...
