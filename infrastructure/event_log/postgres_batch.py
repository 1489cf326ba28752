"""A batch of commands, turned on its side: the arrays that `kasal_append` takes.

Called by the PostgreSQL writer. What each array means is told in `migrations/versions/v0001_append.sql`.
"""

from __future__ import annotations

from collections.abc import Sequence

from application.contents import StoredPart
from application.ports import Append, CommandRecord
from infrastructure.event_log.postgres_arrays import Blobs, Ints, PgArray, Texts
from infrastructure.event_log.rows import encode_metadata


class Columns:
    """The parameters of `kasal_append` for one batch."""

    def __init__(self, batch: Sequence[Append]) -> None:
        self._places: dict[str, int] = {}
        self._keys: dict[str, int] = {}
        self._commands: tuple[list[int], list[int], list[int]] = ([], [], [])
        self._guards: tuple[list[int], list[int], list[int]] = ([], [], [])
        self._record_numbers: tuple[list[int], list[int]] = ([], [])
        self._record_texts: tuple[list[bytes], list[bytes], list[bytes]] = ([], [], [])
        self._event_numbers: tuple[list[int], list[int]] = ([], [])
        self._event_texts: tuple[list[bytes], list[bytes], list[bytes], list[bytes]] = ([], [], [], [])
        for owner, append in enumerate(batch, 1):
            self._add_command(append)
            self._add_guards(owner, append)
            self._add_record(owner, append.record)
            self._add_events(owner, append)

    def stream_at(self, place: int) -> str:
        """The stream that the function calls by its place."""
        return list(self._places)[place - 1]

    def parameters(self) -> tuple[PgArray, ...]:
        event_of, event_version = self._event_numbers
        event_stream, event_topic, event_state, event_metadata = self._event_texts
        record_hash, record_command, record_response = self._record_texts
        return (
            Texts([stream.encode() for stream in self._places]),
            *map(Ints, self._commands),
            *map(Ints, self._guards),
            Texts([key.encode() for key in self._keys]),
            *map(Ints, self._record_numbers),
            Texts(record_hash),
            Texts(record_command),
            Blobs(record_response),
            Ints(event_of),
            Texts(event_stream),
            Ints(event_version),
            Texts(event_topic),
            Blobs(event_state),
            Texts(event_metadata),
        )

    def _place(self, stream: str) -> int:
        return self._places.setdefault(stream, len(self._places) + 1)

    def _add_command(self, append: Append) -> None:
        streams, expected, events = self._commands
        streams.append(self._place(append.stream))
        expected.append(append.expected_version)
        events.append(len(append.events))

    def _add_guards(self, owner: int, append: Append) -> None:
        owners, streams, versions = self._guards
        for stream, version in append.guards:
            owners.append(owner)
            streams.append(self._place(stream))
            versions.append(version)

    def _add_record(self, owner: int, record: CommandRecord | None) -> None:
        if record is None:
            return
        owners, keys = self._record_numbers
        owners.append(owner)
        keys.append(self._keys.setdefault(record.key, len(self._keys) + 1))
        hashes, commands, responses = self._record_texts
        hashes.append(record.request_hash.encode())
        commands.append(record.command_id.encode())
        responses.append(record.response)

    def _add_events(self, owner: int, append: Append) -> None:
        owners, versions = self._event_numbers
        streams, topics, states, metadatas = self._event_texts
        stream = append.stream.encode()
        for version, event in enumerate(append.events, append.expected_version + 1):
            owners.append(owner)
            versions.append(version)
            streams.append(stream)
            topics.append(event.tag.encode())
            states.append(event.body)
            metadatas.append(encode_metadata(event.metadata))


def part_columns(parts: Sequence[StoredPart]) -> tuple[PgArray, ...]:
    """The arrays of some parts of contents, in the order of `rows.CONTENT_COLUMNS`."""
    return (
        Texts([part.tenant.encode() for part in parts]),
        Texts([part.owner.encode() for part in parts]),
        Texts([part.digest.encode() for part in parts]),
        Ints([part.number for part in parts]),
        Ints([part.total_bytes for part in parts]),
        Blobs([part.body for part in parts]),
    )
