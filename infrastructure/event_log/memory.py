"""The log in memory: the fake for unit tests, and the contract at its shortest. It ends with its process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from application.contents import Holding, StoredPart
from application.log_port import StoredKey
from application.ports import Append, Appended, CommandRecord
from domain.errors import LogUnavailable
from domain.message import Recorded
from infrastructure.event_log.deciding import Decider, check
from infrastructure.event_log.head_watch import HeadWatch


class MemoryEventLog:
    """`application.ports.EventLog` on a list. An append has no await in it, so each is atomic."""

    def __init__(self) -> None:
        self._events: list[Recorded] = []
        self._streams: dict[str, list[Recorded]] = defaultdict(list)
        self._decider = Decider(versions={}, head=0, records={})
        self._watch = HeadWatch(self.head, poll_every_s=1)
        self._contents: dict[tuple[str, str, int], StoredPart] = {}
        self._keys: dict[str, StoredKey] = {}
        self._closed = False

    async def append(self, append: Append) -> Appended:
        if self._closed:
            raise LogUnavailable("the event log is closed")
        check(append)
        outcome = self._decider.decide(append)
        if not isinstance(outcome, Appended):
            raise outcome
        for part in append.contents:
            self._keep(part)
        self._store(append)
        if append.key is not None:
            self._keys[append.stream] = append.key
        if append.erases:
            self._erase(append.stream)
        self._watch.saw(outcome.position)
        return outcome

    def _store(self, append: Append) -> None:
        for version, event in enumerate(append.events, append.expected_version + 1):
            recorded = Recorded(
                position=len(self._events) + 1,
                stream=append.stream,
                version=version,
                tag=event.tag,
                body=event.body,
                metadata=event.metadata,
            )
            self._events.append(recorded)
            self._streams[append.stream].append(recorded)

    def _erase(self, stream: str) -> None:
        if stream in self._keys:
            self._keys[stream] = StoredKey(stream, self._keys[stream].wrapping, b"")
        self._contents = {place: part for place, part in self._contents.items() if part.owner != stream}

    def _keep(self, part: StoredPart) -> None:
        self._contents.setdefault((part.digest, part.owner, part.number), part)

    async def put_part(self, part: StoredPart) -> None:
        if self._closed:
            raise LogUnavailable("the event log is closed")
        self._keep(part)

    async def holdings(self, tenant: str, digests: Sequence[str]) -> Sequence[Holding]:
        found = defaultdict(list)
        for (digest, owner, _), part in self._contents.items():
            if part.tenant == tenant and digest in digests:
                found[digest, owner].append(part.total_bytes)
        return [Holding(*key, max(totals), len(totals)) for key, totals in sorted(found.items())]

    async def read_part(self, owner: str, digest: str, number: int) -> bytes | None:
        part = self._contents.get((digest, owner, number))
        return part.body if part else None

    async def read_stream(self, stream: str, after_version: int = 0) -> Sequence[Recorded]:
        return tuple(self._streams.get(stream, ())[after_version:])

    async def version_of(self, stream: str) -> int:
        return len(self._streams.get(stream, ()))

    async def read_all(self, after_position: int, limit: int) -> Sequence[Recorded]:
        return tuple(self._events[after_position : after_position + limit])

    async def head(self) -> int:
        return len(self._events)

    async def command_record(self, key: str) -> CommandRecord | None:
        return self._decider.records.get(key)

    async def keys(self, streams: Sequence[str]) -> Sequence[StoredKey]:
        return [self._keys[stream] for stream in streams if stream in self._keys]

    async def keys_after(self, stream: str, limit: int) -> Sequence[StoredKey]:
        return [self._keys[name] for name in sorted(self._keys) if name > stream][:limit]

    async def put_key(self, key: StoredKey) -> None:
        self._keys.setdefault(key.stream, key)

    async def rewrap(self, before: StoredKey, now: StoredKey) -> None:
        if self._keys.get(before.stream) == before:
            self._keys[before.stream] = now

    async def wait_beyond(self, position: int, timeout_s: float) -> None:
        await self._watch.wait_beyond(position, timeout_s)

    async def close(self) -> None:
        self._closed = True
        await self._watch.close()
