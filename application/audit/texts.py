"""The check of the large texts beside the log: each is what its digest says.

Called by the walk over the log. Its one rule: a text is hashed part by part, in constant memory. Its digest
stands in the events that name it, so whoever changes a text would have to change a signed event too.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from application.audit.ports import AuditStore, TextPart
from application.audit.sealing import Seals

PAGE = 16


class Text:
    """One text of one owner, while its parts go by."""

    def __init__(self, first: TextPart) -> None:
        self.first = first
        self._hash = sha256()
        self._size = 0

    def add(self, part: TextPart) -> None:
        self._hash.update(part.body)
        self._size += len(part.body)

    def has(self, part: TextPart) -> bool:
        return (part.digest, part.owner) == (self.first.digest, self.first.owner)

    @property
    def fault(self) -> str:
        """What is wrong with it; "" when nothing is, or when it never came whole."""
        if self._size < self.first.total_bytes or self._hash.hexdigest() == self.first.digest:
            return ""
        return f"a text of {self.first.owner} is not what its digest says: {self.first.digest}"


async def verify_texts(store: AuditStore, seals: Seals, found: Callable[[str], None]) -> int:
    """Tell of every text that is another than its digest says; how many were looked at."""
    text: Text | None = None
    count, place = 0, ("", "", -1)
    while page := await store.texts(place, PAGE):
        for part in await seals.opened_texts(page):
            if text is None or not text.has(part):
                tell(text, found)
                text, count = Text(part), count + 1
            text.add(part)
        place = page[-1].place
    tell(text, found)
    return count


def tell(text: Text | None, found: Callable[[str], None]) -> None:
    if text is not None and text.fault:
        found(text.fault)
