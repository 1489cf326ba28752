"""A log whose contents are sealed at rest: events and large texts are sealed on their way in, opened on their
way out.

Made by the composition root around an adapter. Its one rule: whoever has this log sees what was recorded;
whoever has the one in it (the relay, the audit) sees what is stored.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from msgspec.structs import replace

from application.audit.ports import TextPart
from application.contents import Holding, StoredPart
from application.log_port import MAX_EVENT_BYTES, Append, Appended, CommandRecord, NewEvent, SealableLog
from domain.errors import LogUnavailable, Rejected, TooLarge
from domain.execution import ExecutionErased
from domain.message import Recorded, tag_of
from infrastructure.event_log.tail import Tail
from infrastructure.sealing.ciphers import ContentKey, halves
from infrastructure.sealing.keyring import FRESH_S, Keyring

SEALED = "execution-"
"""Streams whose name begins so have contents."""

ERASED = tag_of(ExecutionErased)


class SealedEventLog:
    """`application.ports.EventLog`. It remembers what it appended as it was before it was sealed, so that who
    follows it in this process need not open it."""

    def __init__(self, log: SealableLog, keyring: Keyring) -> None:
        self._log = log
        self._keyring = keyring
        self._tail = Tail()
        self._tail_from = 0.0
        self._appending = 0

    async def append(self, append: Append) -> Appended:
        """Raises, besides, `Rejected` for an erasure of what was never sealed."""
        key, sealed = await self._sealed(append)
        self._appending += 1
        try:
            appended = await self._log.append(sealed)
        finally:
            self._appending -= 1
        if sealed.erases:
            self._forget(append.stream)
        else:
            if sealed.key is not None:
                self._keyring.learn(append.stream, key)
            self._remember(append, appended)
        return appended

    async def read_stream(self, stream: str, after_version: int = 0) -> Sequence[Recorded]:
        return await self.opened(await self._log.read_stream(stream, after_version))

    async def version_of(self, stream: str) -> int:
        return await self._log.version_of(stream)

    async def read_all(self, after_position: int, limit: int) -> Sequence[Recorded]:
        events = await self._log.read_all(after_position, limit)
        known = self._known(events)
        if len(known) < len(events) and self._appending:
            await asyncio.sleep(0)  # who appended them goes on next, and remembers them
            known = self._known(events)
        if not known or any(event.tag == ERASED for event in events):
            return await self.opened(events)
        return (*known, *await self.opened(events[len(known) :]))

    def _known(self, events: Sequence[Recorded]) -> Sequence[Recorded]:
        """As many of the first ones as are remembered. What there is, only the log itself says: what was
        appended just now may not be remembered yet."""
        if not events or self._tail_from + FRESH_S < time.monotonic():
            return ()
        return self._tail.after(events[0].position - 1, len(events))

    async def opened(self, events: Sequence[Recorded]) -> Sequence[Recorded]:
        """Events as they were recorded; without their contents where these are erased."""
        streams = {event.stream for event in events if event.stream.startswith(SEALED)}
        if not streams:
            return events
        for event in events:
            if event.tag == ERASED:
                self._forget(event.stream)
        keys = await self._keyring.of_all(streams)
        return tuple([opened(event, keys.get(event.stream, False)) for event in events])

    async def opened_texts(self, parts: Sequence[TextPart]) -> Sequence[TextPart]:
        """As `Seals.opened_texts`; those of an erased execution, which nobody can open, are left out."""
        keys = await self._keyring.of_all({part.owner for part in parts if part.owner.startswith(SEALED)})
        found = ((part, keys.get(part.owner, False)) for part in parts)
        return [opened_text(part, key) for part, key in found if key is not True]

    async def secret_of(self, stream: str) -> bytes | None:
        found = await self._keyring.of(stream) if stream.startswith(SEALED) else False
        return found.secret if isinstance(found, ContentKey) else b"" if found else None

    async def put_secret(self, stream: str, secret: bytes) -> None:
        await self._log.put_key(self._keyring.wrapped(stream, secret))

    async def append_stored(self, append: Append) -> Appended:
        return await self._log.append(replace(append, is_sealed=True))

    async def put_part(self, part: StoredPart) -> None:
        await self._log.put_part(sealed_part(part, await self._key_of(part.owner)))

    async def holdings(self, tenant: str, digests: Sequence[str]) -> Sequence[Holding]:
        return await self._log.holdings(tenant, digests)

    async def read_part(self, owner: str, digest: str, number: int) -> bytes | None:
        body = await self._log.read_part(owner, digest, number)
        key = await self._key_of(owner)
        return key.open_part(owner, digest, number, body) if body is not None and key else body

    async def head(self) -> int:
        return await self._log.head()

    async def command_record(self, key: str) -> CommandRecord | None:
        return await self._log.command_record(key)

    async def wait_beyond(self, position: int, timeout_s: float) -> None:
        await self._log.wait_beyond(position, timeout_s)

    async def close(self) -> None:
        await self._log.close()

    async def _sealed(self, append: Append) -> tuple[ContentKey | bool, Append]:
        """The append as it is stored, and the key of its stream."""
        stream = append.stream
        begins = append.expected_version == 0
        if not stream.startswith(SEALED) or (begins and not self._keyring.seals):
            return False, append
        check_sizes(append.events)
        key, stored = self._keyring.new(stream) if begins else (await self._keyring.of(stream), None)
        erases = any(event.tag == ERASED for event in append.events)
        if erases and key is False:
            raise Rejected(
                f"EraseExecution is not allowed: {stream} was recorded before contents were encrypted"
            )
        if not isinstance(key, ContentKey):
            return key, replace(append, erases=erases)
        events = tuple(
            NewEvent(event.tag, key.seal_event(stream, version, event.tag, event.body), event.metadata)
            for version, event in enumerate(append.events, append.expected_version + 1)
        )
        parts = tuple(sealed_part(part, key) for part in append.contents)
        return key, replace(append, events=events, contents=parts, key=stored, is_sealed=True, erases=erases)

    async def _key_of(self, stream: str) -> ContentKey | None:
        found = await self._keyring.of(stream) if stream.startswith(SEALED) else False
        return found if isinstance(found, ContentKey) else None

    def _remember(self, append: Append, appended: Appended) -> None:
        self._tail.saw(append, appended)
        self._tail_from = time.monotonic()

    def _forget(self, stream: str) -> None:
        self._keyring.learn(stream, found=True)
        self._tail = Tail()


def opened(event: Recorded, key: ContentKey | bool) -> Recorded:
    if isinstance(key, ContentKey):
        body = key.open_event(event.stream, event.version, event.tag, event.body)
    else:
        body = halves(event.body)[0] if key else event.body
    return event if body is event.body else replace(event, body=body)


def opened_text(part: TextPart, key: ContentKey | bool) -> TextPart:
    """One that was changed stays as it is, which its digest tells."""
    if not isinstance(key, ContentKey):
        return part
    try:
        return replace(part, body=key.open_part(part.owner, part.digest, part.number, part.body))
    except LogUnavailable:
        return part


def opened_with(secret: bytes, event: Recorded) -> bytes:
    """The body of a stored event of which an export brings the key. b"": there is none."""
    key = ContentKey(secret) if secret else event.stream.startswith(SEALED)
    try:
        return opened(event, key).body
    except LogUnavailable:
        return b""


def sealed_part(part: StoredPart, key: ContentKey | None) -> StoredPart:
    return replace(part, body=key.seal_part(part)) if key else part


def check_sizes(events: Sequence[NewEvent]) -> None:
    for event in events:
        if len(event.body) > MAX_EVENT_BYTES:
            raise TooLarge(f"{event.tag} has {len(event.body)} bytes, an event may have {MAX_EVENT_BYTES}")
