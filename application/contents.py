"""Large texts: taken out of what a runner reports, stored once by SHA-256, put back when they are read.

`set_aside` and `bring_back` are called in runners, `Contents` beside the log. Its one rule: an event never
names a content that is not there: contents are committed with the events that name them, or before.

A content belongs to the stream that named it (its owner), and is read by whoever shares the tenant. What was
sent ahead of a report that never came is named by nobody; `application.unnamed_contents` removes it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from domain.errors import NotFound, TooLarge
from domain.execution import Content, TaskOutput

INLINE_BYTES = 4 * 1024
"""A text that a call sent or received is in its event up to this size; of a longer one the beginning."""

INLINE_OUTPUT_BYTES = 32 * 1024
"""The same for the output of a task, which people read whole."""

BEGINNING_BYTES = 1024
PART_BYTES = 256 * 1024
"""A content is stored, and travels, in parts of this size; NATS carries 1 MiB."""

MAX_CONTENT_BYTES = 16 * 2**20

DIGEST = re.compile(r"[0-9a-f]{64}")

E = TypeVar("E", bound=msgspec.Struct)


class Part(msgspec.Struct, frozen=True):
    """One part of a content. number: from 0; total_bytes: of the whole content."""

    digest: str
    number: int
    total_bytes: int
    body: bytes

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its content."""
        return self.total_bytes <= PART_BYTES


class StoredPart(msgspec.Struct, frozen=True):
    """A row of the store. owner: the stream that named it first for itself; body: as it is kept."""

    tenant: str
    owner: str
    digest: str
    number: int
    total_bytes: int
    body: bytes


class Holding(msgspec.Struct, frozen=True):
    """How much of a content is stored for one owner."""

    digest: str
    owner: str
    total_bytes: int
    parts: int

    @property
    def is_whole(self) -> bool:
        return self.parts == parts_in(self.total_bytes)


class ContentStore(Protocol):
    """Parts by (owner, digest, number), each written once; the same database as the log's."""

    async def put_part(self, part: StoredPart) -> None:
        """Durable on return; one that is there is left as it is. Raises `LogUnavailable`."""
        ...

    async def holdings(self, tenant: str, digests: Sequence[str]) -> Sequence[Holding]:
        """What is there of some contents, of every owner, in the order of their names."""
        ...

    async def read_part(self, owner: str, digest: str, number: int) -> bytes | None:
        """The body of one part."""
        ...


class Contents:
    """The one place where contents are written to the store and read from it."""

    def __init__(self, store: ContentStore) -> None:
        self._store = store

    @staticmethod
    def kept(tenant: str, owner: str, part: Part) -> StoredPart:
        """A part as the store keeps it, on its own or beside the events of an append."""
        return StoredPart(tenant, owner, part.digest, part.number, part.total_bytes, part.body)

    async def put(self, tenant: str, owner: str, part: Part) -> None:
        """Store one part ahead of the event that will name its content."""
        await self._store.put_part(self.kept(tenant, owner, part))

    async def missing(self, tenant: str, owner: str, digests: Sequence[str]) -> tuple[str, ...]:
        """Those that are not there whole for their owner."""
        if not digests:
            return ()
        held = await self._store.holdings(tenant, digests)
        there = {holding.digest for holding in held if holding.owner == owner and holding.is_whole}
        return tuple(digest for digest in digests if digest not in there)

    async def find(self, tenant: str, digest: str, owner: str | None = None) -> Holding:
        """Where a content is whole: at the owner's, else at another's of the tenant. Raises `NotFound`."""
        held = await self._store.holdings(tenant, [digest]) if DIGEST.fullmatch(digest) else ()
        whole = sorted((h for h in held if h.is_whole), key=lambda holding: holding.owner != owner)
        if not whole:
            raise NotFound(f"there is no content {digest[:80]!r}")
        return whole[0]

    async def read(self, holding: Holding, number: int) -> bytes:
        """One part's text. Raises `NotFound` when it has gone meanwhile."""
        body = await self._store.read_part(holding.owner, holding.digest, number)
        if body is None:
            raise NotFound(f"there is no content {holding.digest!r} any more")
        return body

    async def stream(self, holding: Holding) -> AsyncIterator[bytes]:
        """The whole text, part by part."""
        for number in range(holding.parts):
            yield await self.read(holding, number)


def parts_in(total_bytes: int) -> int:
    return max(1, -(-total_bytes // PART_BYTES))


def parts_of(text: str) -> tuple[Part, ...]:
    """A text cut into parts; the same text always the same way."""
    whole = text.encode()
    digest = digest_of(whole)
    return tuple(
        Part(digest, number, len(whole), whole[number * PART_BYTES : (number + 1) * PART_BYTES])
        for number in range(parts_in(len(whole)))
    )


def digest_of(whole: bytes | bytearray) -> str:
    return hashlib.sha256(whole).hexdigest()


def part_fault(part: Part) -> str:
    """What is wrong with a part that a runner sends; "" when nothing is."""
    last = parts_in(part.total_bytes) - 1
    size = PART_BYTES if part.number < last else part.total_bytes - last * PART_BYTES
    if not DIGEST.fullmatch(part.digest) or not 0 <= part.number <= last or len(part.body) != size:
        return f"part {part.number} of content {part.digest[:80]!r} is not a part of {part.total_bytes} bytes"
    if part.total_bytes > MAX_CONTENT_BYTES:
        return f"content {part.digest} has {part.total_bytes} bytes; expected at most {MAX_CONTENT_BYTES}"
    if last == 0 and digest_of(part.body) != part.digest:
        return f"content {part.digest} is not what its digest says"
    return ""


def set_aside(entry: E) -> tuple[E, tuple[Part, ...]]:
    """An entry in which large texts are replaced by their digests and beginnings, and the parts of these
    texts. Raises `TooLarge` above `MAX_CONTENT_BYTES`.
    """
    changes, parts = dict[str, object](), list[Part]()
    for name in entry.__struct_fields__:
        value = getattr(entry, name)
        if isinstance(value, Content | TaskOutput):
            smaller, text = shortened(value)
            if text is not None:
                changes[name] = smaller
                parts += parts_of(text)
    return (msgspec.structs.replace(entry, **changes) if changes else entry), tuple(parts)


def shortened(value: Content | TaskOutput) -> tuple[Content | TaskOutput, str | None]:
    """The value with only the beginning of its text, and the text; None where it is short enough."""
    if value.digest and (isinstance(value, TaskOutput) or value.is_truncated):
        return value, None
    inline, shown = (
        (INLINE_BYTES, BEGINNING_BYTES) if isinstance(value, Content) else (INLINE_OUTPUT_BYTES, INLINE_BYTES)
    )
    whole = value.text.encode()
    if len(whole) <= inline:
        return value, None
    if len(whole) > MAX_CONTENT_BYTES:
        raise TooLarge(f"a text has {len(whole)} bytes; the bound is {MAX_CONTENT_BYTES}")
    beginning = whole[:shown].decode(errors="ignore")
    if isinstance(value, Content):
        return Content(value.digest, len(whole), beginning, is_truncated=True, is_stored=True), value.text
    return TaskOutput(beginning, value.structured, digest_of(whole), len(whole)), value.text


def named(entries: Iterable[msgspec.Struct]) -> Iterator[str]:
    """The digests of the stored contents that some entries name."""
    for entry in entries:
        for name in entry.__struct_fields__:
            match getattr(entry, name):
                case Content(digest=digest, is_stored=True):
                    yield digest
                case TaskOutput(digest=digest) if digest:
                    yield digest


async def bring_back(entry: E, read: Callable[[str], Awaitable[str]]) -> E:
    """The entry with every stored text in its place. Raises what `read` does."""
    changes: dict[str, object] = {}
    for name in entry.__struct_fields__:
        match getattr(entry, name):
            case Content(is_stored=True) as content:
                changes[name] = Content(content.digest, content.size_bytes, await read(content.digest))
            case TaskOutput() as output:
                changes[name] = await whole_output(output, read)
    return msgspec.structs.replace(entry, **changes) if changes else entry


async def whole_output(output: TaskOutput, read: Callable[[str], Awaitable[str]]) -> TaskOutput:
    if not output.digest:
        return output
    return TaskOutput(await read(output.digest), output.structured)


async def whole_outputs(
    outputs: Mapping[str, TaskOutput], read: Callable[[str], Awaitable[str]]
) -> dict[str, TaskOutput]:
    return {task: await whole_output(output, read) for task, output in outputs.items()}
