"""The rows of the log's tables as the port's structs, and metadata as the text that a row holds.

Called by both databases, whose columns are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

import msgspec

from application.contents import Holding
from application.log_port import StoredKey
from application.ports import CommandRecord
from domain.message import Metadata, Recorded

EVENTS = "SELECT notification_id, originator_id, originator_version, topic, state, metadata FROM kasal_events"
"""The columns in the order of `EventRow`."""

RECORDS = "SELECT key, request_hash, command_id, response, version, position FROM kasal_commands"
"""The columns in the order of `RecordRow`."""

CONTENT_COLUMNS = "tenant, owner, digest, number, total_bytes, body"
"""Of `kasal_contents`, in the order of `StoredPart`."""

HOLDINGS = "SELECT digest, owner, max(total_bytes), count(*) FROM kasal_contents WHERE "
BY_OWNER = " GROUP BY digest, owner ORDER BY digest, owner"
PART_BODY = "SELECT body FROM kasal_contents WHERE "
KEYS = "SELECT stream, wrapping, wrapped FROM kasal_keys WHERE "
"""The columns in the order of `StoredKey`."""

EventRow: TypeAlias = tuple[int, str, int, str, bytes, str]
RecordRow: TypeAlias = tuple[str, str, str, bytes, int, int]

encode_metadata = msgspec.json.Encoder().encode
_decode_metadata = msgspec.json.Decoder(Metadata).decode


def recorded(row: Sequence[object]) -> Recorded:
    """The event that a row of `EVENTS` holds."""
    position, stream, version, tag, body, metadata = cast("EventRow", row)
    return Recorded(
        position=position,
        stream=stream,
        version=version,
        tag=tag,
        body=body,
        metadata=_decode_metadata(metadata),
    )


def command_record(row: Sequence[object]) -> CommandRecord:
    """The record that a row of `RECORDS` holds."""
    key, request_hash, command, response, version, position = cast("RecordRow", row)
    return CommandRecord(
        key=key,
        request_hash=request_hash,
        command_id=command,
        response=response,
        version=version,
        position=position,
    )


def holding(row: Sequence[object]) -> Holding:
    """What a row of `HOLDINGS` says."""
    return Holding(*cast("tuple[str, str, int, int]", tuple(row)))


def stored_key(row: Sequence[object]) -> StoredKey:
    """What a row of `KEYS` says."""
    stream, wrapping, wrapped = cast("tuple[str, str, bytes]", row)
    return StoredKey(stream, wrapping, bytes(wrapped))


def command_id(metadata: str) -> str:
    """The command that caused an event."""
    return _decode_metadata(metadata).command_id
