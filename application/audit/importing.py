"""An export, put into an empty log: the same events at the same positions, the same hash tree.

Called by `kasal history import`. Its one rule: the whole file is checked before the first event is stored, so
that a log is never half of something wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from application.audit.exporting import CONTENT_TYPE, ContentPart, Proof
from application.audit.merkle import leaf_hash
from application.audit.sealing import ImportLog, OpenedWith
from application.audit.tiles import Tree
from application.contents import Contents, Part, part_fault
from application.log_port import Append, NewEvent
from domain.errors import Invalid, KasalError, Rejected
from domain.message import Recorded

BATCH = 500
AT_ONCE_BYTES = 4 * 2**20

FromCloudEvent = Callable[[bytes], Recorded]


class Imported(msgspec.Struct, frozen=True):
    """How many events, and the root of the hash tree over them."""

    events: int
    root: bytes


class _Kind(Proof, frozen=True):
    type: str = ""


_kind = msgspec.json.Decoder(_Kind).decode
_part = msgspec.json.Decoder(ContentPart).decode


def check_export(
    lines: Iterable[bytes], from_cloudevent: FromCloudEvent, opened_with: OpenedWith
) -> Imported:
    """Every line read, positions 1..n, versions 1..n by stream as they come, each hash as it was, and what is
    sealed the same as what is shown.

    Raises `Invalid` with the number of the line.
    """
    tree, leaves = Tree(), list[bytes]()
    for shown, proof, number in events_in(lines, from_cloudevent):
        recorded = as_stored(shown, proof)
        expected = tree.size + len(leaves) + 1
        if recorded.position != expected:
            message = f"line {number}: expected position {expected}, found {recorded.position}"
            raise Invalid(f"{message}; a log is imported whole, from position 1")
        leaf = leaf_of(recorded)
        if leaf.hex() != proof.leafhash or opened_with(proof.sealkey, recorded) != shown.body:
            raise Invalid(f"line {number}: the event at position {expected} is not the one that was exported")
        leaves.append(leaf)
        if len(leaves) == BATCH:
            tree.add(leaves)
            leaves = []
    tree.add(leaves)
    return Imported(tree.size, tree.root())


async def import_events(log: ImportLog, lines: Iterable[bytes], from_cloudevent: FromCloudEvent) -> int:
    """Store what `check_export` has accepted; how many events. Raises `Rejected` for a log that has any."""
    if head := await log.head():
        raise Rejected(
            f"an import is not allowed: the log holds {head} events already; expected an empty one"
        )
    batch: list[Recorded] = []
    size = stored = 0
    for item in items_in(lines, from_cloudevent):
        if isinstance(item, ContentPart):
            await log.put_part(Contents.kept(item.tenantid, item.owner, part_of(item)))
            continue
        recorded = as_stored(item[0], item[1])
        if recorded.version == 1 and item[1].storeddata:
            await log.put_secret(recorded.stream, item[1].sealkey)
        batch.append(recorded)
        size += len(recorded.body)
        if len(batch) == BATCH or size > AT_ONCE_BYTES:
            stored += await store(log, batch)
            batch, size = [], 0
    return stored + await store(log, batch)


async def store(log: ImportLog, events: Sequence[Recorded]) -> int:
    """In the order given; the log's queue keeps it."""
    appends = [*appends_of(events)]
    answers = await asyncio.gather(*(log.append_stored(append) for append in appends))
    position = events[0].position - 1 if events else 0
    for append, answer in zip(appends, answers, strict=True):
        position += len(append.events)
        if answer.position != position:
            raise KasalError(
                f"position {position} became {answer.position}: somebody else writes to this log"
            )
    return len(events)


def appends_of(events: Sequence[Recorded]) -> Iterator[Append]:
    """Neighbours of one stream go together."""
    run: list[Recorded] = []
    for event in events:
        if run and run[0].stream != event.stream:
            yield append_of(run)
            run = []
        run.append(event)
    if run:
        yield append_of(run)


def append_of(events: Sequence[Recorded]) -> Append:
    new = tuple(NewEvent(event.tag, event.body, event.metadata) for event in events)
    return Append(stream=events[0].stream, expected_version=events[0].version - 1, events=new)


def as_stored(shown: Recorded, proof: Proof) -> Recorded:
    """The event as the log that it comes from holds it."""
    return msgspec.structs.replace(shown, body=proof.storeddata) if proof.storeddata else shown


def leaf_of(recorded: Recorded) -> bytes:
    """As this release would store it."""
    return leaf_hash(
        (
            recorded.position,
            recorded.version,
            recorded.stream.encode(),
            recorded.tag.encode(),
            recorded.body,
            msgspec.json.encode(recorded.metadata),
        )
    )


def events_in(
    lines: Iterable[bytes], from_cloudevent: FromCloudEvent
) -> Iterator[tuple[Recorded, Proof, int]]:
    """The events, their proofs and the numbers of their lines; contents are checked on the way."""
    for item in items_in(lines, from_cloudevent):
        if not isinstance(item, ContentPart):
            yield item


def items_in(
    lines: Iterable[bytes], from_cloudevent: FromCloudEvent
) -> Iterator[ContentPart | tuple[Recorded, Proof, int]]:
    for number, line in enumerate(lines, 1):
        try:
            kind = _kind(line)
            if kind.type == CONTENT_TYPE:
                part = _part(line)
                if fault := part_fault(part_of(part)):
                    raise ValueError(fault)
                yield part
                continue
            recorded = from_cloudevent(line)
        except ValueError as error:
            raise Invalid(f"line {number}: expected an exported event: {error}") from None
        yield recorded, kind, number


def part_of(part: ContentPart) -> Part:
    return Part(part.subject, part.part, part.total, part.data_base64)
