"""Events as others see them: CloudEvents 1.0, structured mode, JSON.

Called by the feed and by whatever streams events out. Its one rule: nothing is lost on the way; what was
recorded comes back equal, the body byte for byte.

Beyond the attributes of the specification: `sequence` (the position, zero-padded, sorts as text),
`partitionkey` (the entity), `tenantid`, `actor`, `eventid`, `commandid`, `correlationid`, `causationid`,
`kasalversion` (the version within the stream) and `traceparent` (Distributed Tracing extension).
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

import msgspec

from domain.message import Metadata, Recorded

CONTENT_TYPE = "application/cloudevents+json"
TYPE_PREFIX = "io.kasal."


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The members in the order in which they are written. Absent is never null."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str | None = None
    time: datetime
    datacontenttype: str
    sequence: str
    partitionkey: str
    tenantid: str
    actor: str
    eventid: str
    commandid: str
    correlationid: str
    causationid: str | None = None
    traceparent: str | None = None
    kasalversion: int
    data: msgspec.Raw


def to_cloudevent(recorded: Recorded) -> bytes:
    """The event as JSON. The same event gives the same bytes; `id` and `source` together name it for ever."""
    metadata = recorded.metadata
    return _encoder.encode(
        CloudEvent(
            specversion="1.0",
            id=f"{recorded.stream}:{recorded.version}",
            source=f"/tenants/{quote(metadata.tenant, safe='')}/{quote(recorded.category, safe='')}",
            type=TYPE_PREFIX + recorded.tag,
            subject=recorded.entity_id or None,
            time=metadata.at,
            datacontenttype="application/json",
            sequence=f"{recorded.position:020d}",
            partitionkey=recorded.entity_id or recorded.stream,
            tenantid=metadata.tenant,
            actor=metadata.actor,
            eventid=metadata.event_id,
            commandid=metadata.command_id,
            correlationid=metadata.correlation_id,
            causationid=metadata.causation_id,
            traceparent=metadata.traceparent,
            kasalversion=recorded.version,
            data=msgspec.Raw(recorded.body),
        )
    )


def from_cloudevent(body: bytes) -> Recorded:
    """The event that `to_cloudevent` was given. Raises `msgspec.DecodeError` for anything else."""
    event = _decoder.decode(body)
    return Recorded(
        position=int(event.sequence),
        stream=event.id.rpartition(":")[0],
        version=event.kasalversion,
        tag=event.type.removeprefix(TYPE_PREFIX),
        body=bytes(event.data),
        metadata=Metadata(
            event_id=event.eventid,
            at=event.time,
            tenant=event.tenantid,
            actor=event.actor,
            command_id=event.commandid,
            correlation_id=event.correlationid,
            causation_id=event.causationid,
            traceparent=event.traceparent,
        ),
    )


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(CloudEvent)
