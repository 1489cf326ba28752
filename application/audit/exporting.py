"""The log, or one execution, as JSON lines of CloudEvents; large texts before the events that name them.

Called by HTTP. Its one rule: a line holds all that an import needs to store the same bytes at the same
position, and `leafhash`, by which it proves that it did.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from application.audit.merkle import StoredEvent, leaf_hash
from application.audit.ports import AuditStore
from application.audit.sealing import Seals, Unsealed
from application.contents import Contents, named
from domain.errors import NotFound
from domain.message import Metadata, Recorded
from domain.registry import event_of

CHUNK = 256
CONTENT_TYPE = "io.kasal.content"

Read = Callable[[int], Awaitable[Sequence[StoredEvent]]]
"""The next events behind a version or position."""

_metadata = msgspec.json.Decoder(Metadata).decode


class ContentPart(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvent of ours that no log holds: a part of a large text, on its way to another installation.

    owner: the stream that names it; part: from 0; total: bytes of the whole text; data_base64: this part.
    """

    specversion: str = "1.0"
    id: str
    source: str
    type: str = CONTENT_TYPE
    subject: str
    datacontenttype: str = "application/octet-stream"
    tenantid: str
    owner: str
    part: int
    total: int
    data_base64: bytes


class Proof(msgspec.Struct, frozen=True, omit_defaults=True):
    """Attributes of an exported event beside those of CloudEvents: what an import makes the same leaf of.

    storeddata  the event as it is stored, where that is sealed; `data` is what was recorded
    sealkey     the key of its execution; absent where that is erased
    """

    leafhash: str = ""
    storeddata: bytes = b""
    sealkey: bytes = b""


class Exports:
    """to_cloudevent: an event as CloudEvent JSON. seals: what opens contents, where they are sealed."""

    def __init__(
        self,
        store: AuditStore,
        contents: Contents,
        to_cloudevent: Callable[[Recorded], bytes],
        seals: Seals | None = None,
    ) -> None:
        self._seals = seals or Unsealed()
        self._store = store
        self._contents = contents
        self._to_cloudevent = to_cloudevent

    async def positions(self, tenant: str, after: int, to: int | None) -> AsyncIterator[bytes]:
        """Every event of the tenant behind a position, up to another, or up to the log's end by now."""
        last, _ = await self._store.ends()
        end = last if to is None else min(to, last)

        async def read(position: int) -> Sequence[StoredEvent]:
            return await self._store.events(position, min(position + CHUNK, end))

        position = after
        while position < end:
            events = await read(position)
            async for line in self._lines(event for event in events if tenant_of(event) == tenant):
                yield line
            position += CHUNK

    async def execution(self, tenant: str, execution_id: str) -> AsyncIterator[bytes]:
        """Every event of an execution. Raises `NotFound`."""
        stream = f"execution-{execution_id}"
        first = await self._store.stream_events(stream, 0, 1)
        if not first or tenant_of(first[0]) != tenant:
            raise NotFound(f"there is no execution {execution_id!r}")
        return self._stream(stream)

    async def _stream(self, stream: str) -> AsyncIterator[bytes]:
        version = 0
        while events := await self._store.stream_events(stream, version, CHUNK):
            async for line in self._lines(iter(events)):
                yield line
            version = events[-1][1]

    async def _lines(self, events: Iterator[StoredEvent]) -> AsyncIterator[bytes]:
        page = [*events]
        stored = [recorded_of(event) for event in page]
        opened = await self._seals.opened(stored)
        for event, sealed, recorded in zip(page, stored, opened, strict=True):
            for digest in named([event_of(recorded)]):
                async for part in self._parts(recorded, digest):
                    yield part
            cloud_event = self._to_cloudevent(recorded)
            proof = Proof(leafhash=leaf_hash(event).hex())
            if sealed.body != recorded.body:
                secret = await self._seals.secret_of(sealed.stream) or b""
                proof = replace(proof, storeddata=sealed.body, sealkey=secret)
            yield b"%b,%b\n" % (cloud_event[:-1], msgspec.json.encode(proof)[1:])

    async def _parts(self, recorded: Recorded, digest: str) -> AsyncIterator[bytes]:
        """Of a text that is there; one that was erased is not."""
        tenant = recorded.metadata.tenant
        try:
            holding = await self._contents.find(tenant, digest, recorded.stream)
        except NotFound:
            return
        for number in range(holding.parts):
            part = ContentPart(
                id=f"{recorded.stream}:{digest}:{number}",
                source=f"/tenants/{quote(tenant, safe='')}/contents",
                subject=digest,
                tenantid=tenant,
                owner=recorded.stream,
                part=number,
                total=holding.total_bytes,
                data_base64=await self._contents.read(holding, number),
            )
            yield msgspec.json.encode(part) + b"\n"


def tenant_of(event: StoredEvent) -> str:
    return _metadata(event[5]).tenant


def recorded_of(event: StoredEvent) -> Recorded:
    position, version, stream, tag, body, metadata = event
    return Recorded(
        position=position,
        stream=stream.decode(),
        version=version,
        tag=tag.decode(),
        body=body,
        metadata=_metadata(metadata),
    )
