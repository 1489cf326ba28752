"""Contents at rest: what the database holds, and what those see who have the key, another key, or none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import pytest

from application.contents import Contents, parts_of
from application.log_port import Append, Appended, NewEvent, SealableLog, StoredKey
from domain.errors import LogUnavailable, Rejected, TooLarge
from domain.execution import ExecutionCancelled, ExecutionErased, TaskCompleted, TaskOutput
from domain.message import Event, tag_of
from infrastructure.sealing.installation_key import InstallationKeys
from infrastructure.sealing.log import SealedEventLog
from infrastructure.sealing.opening import sealed_log
from infrastructure.sealing.rewrapping import rewrap
from tests.contracts.event_log_commands import some_metadata
from tests.sealing import KEYS

STREAM = "execution-e"
WORD = "Zwetschgenröster"
SAID = ExecutionCancelled(reason=WORD)


@pytest.fixture
def log(event_log: SealableLog) -> SealedEventLog:
    return sealed_log(event_log, KEYS)


async def append(log: SealedEventLog, version: int, *events: Event, stream: str = STREAM) -> Appended:
    new = tuple(NewEvent(tag_of(event), msgspec.json.encode(event), some_metadata("c")) for event in events)
    return await log.append(Append(stream=stream, expected_version=version, events=new))


async def test_the_database_holds_no_content(log: SealedEventLog, event_log: SealableLog) -> None:
    await append(log, 0, SAID)
    (stored,) = await event_log.read_stream(STREAM)
    assert WORD.encode() not in stored.body
    assert stored.body.startswith(b'{"type":"execution.cancelled"')


async def test_what_was_recorded_comes_back_byte_for_byte(
    log: SealedEventLog, event_log: SealableLog
) -> None:
    await append(log, 0, SAID)
    await append(log, 1, SAID)
    whole = [msgspec.json.encode(SAID)] * 2
    for reader in (log, sealed_log(event_log, KEYS)):
        assert [event.body for event in await reader.read_stream(STREAM)] == whole
        assert [event.body for event in await reader.read_all(0, 10)] == whole


class SlowToAnswer:
    """A log that has stored an append a moment before it says so."""

    def __init__(self, log: SealableLog) -> None:
        self._log = log
        self.stored = asyncio.Event()
        self.lookups = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def append(self, append: Append) -> Appended:
        appended = await self._log.append(append)
        self.stored.set()
        await asyncio.sleep(0)
        return appended

    async def keys(self, streams: Sequence[str]) -> Sequence[StoredKey]:
        self.lookups += 1
        return await self._log.keys(streams)


async def test_who_reads_right_behind_an_append_needs_no_key(event_log: SealableLog) -> None:
    slow = SlowToAnswer(event_log)
    log = sealed_log(cast("SealableLog", slow), KEYS)

    async def read() -> bytes:
        await slow.stored.wait()
        return (await log.read_all(0, 10))[0].body

    _, body = await asyncio.gather(append(log, 0, SAID), read())
    assert (body, slow.lookups) == (msgspec.json.encode(SAID), 0)


async def test_what_is_remembered_hides_nothing_that_the_log_has(
    log: SealedEventLog, event_log: SealableLog
) -> None:
    await append(log, 0, SAID)
    await append(sealed_log(event_log, KEYS), 1, SAID)
    found = await log.read_all(0, 10)
    assert [(event.position, event.body) for event in found] == [
        (1, msgspec.json.encode(SAID)),
        (2, msgspec.json.encode(SAID)),
    ]


async def test_after_erasure_only_the_shape_is_left(log: SealedEventLog, event_log: SealableLog) -> None:
    await append(log, 0, SAID)
    await append(log, 1, ExecutionErased())
    for reader in (log, sealed_log(event_log, KEYS)):
        for events in (await reader.read_stream(STREAM), await reader.read_all(0, 10)):
            assert [event.body for event in events] == [
                b'{"type":"execution.cancelled"}',
                b'{"type":"execution.erased"}',
            ]
    assert [key.wrapped for key in await event_log.keys([STREAM])] == [b""]


async def test_what_another_process_erased_is_closed_when_it_is_read(
    log: SealedEventLog, event_log: SealableLog
) -> None:
    other = sealed_log(event_log, KEYS)
    await append(log, 0, SAID)
    assert WORD.encode() in (await other.read_stream(STREAM))[0].body
    await append(log, 1, ExecutionErased())
    assert WORD.encode() not in (await other.read_stream(STREAM))[0].body
    assert WORD.encode() not in (await other.read_all(0, 1))[0].body


async def test_texts_beside_the_log_are_sealed_and_go_with_the_key(
    log: SealedEventLog, event_log: SealableLog
) -> None:
    await append(log, 0, SAID)
    (part,) = parts_of(WORD * 500)
    await log.put_part(Contents.kept("default", STREAM, part))
    stored = await event_log.read_part(STREAM, part.digest, 0)
    assert stored is not None
    assert WORD.encode() not in stored
    assert await log.read_part(STREAM, part.digest, 0) == part.body
    await append(log, 1, ExecutionErased())
    assert await event_log.read_part(STREAM, part.digest, 0) is None


async def test_one_execution_is_erased_and_the_others_are_not(log: SealedEventLog) -> None:
    await append(log, 0, SAID)
    await append(log, 0, SAID, stream="execution-f")
    await append(log, 1, ExecutionErased())
    assert WORD.encode() in (await log.read_stream("execution-f"))[0].body


async def test_a_command_that_is_refused_erases_nothing(log: SealedEventLog) -> None:
    await append(log, 0, SAID)
    await append(log, 1, SAID)
    with pytest.raises(Exception, match="is at version 2"):
        await append(log, 1, ExecutionErased())
    assert WORD.encode() in (await log.read_stream(STREAM))[0].body


async def test_a_start_that_was_refused_leaves_no_key_behind(
    log: SealedEventLog, event_log: SealableLog
) -> None:
    new = (NewEvent(tag_of(SAID), msgspec.json.encode(SAID), some_metadata("c")),)
    guarded = Append(stream=STREAM, expected_version=0, events=new, guards=(("workflow-w", 1),))
    with pytest.raises(Exception, match="workflow-w"):
        await log.append(guarded)
    assert list(await event_log.keys([STREAM])) == []
    await append(sealed_log(event_log, KEYS), 0, SAID)
    assert WORD.encode() in (await log.read_stream(STREAM))[0].body


async def test_without_the_key_the_log_says_which_one_it_wants(
    log: SealedEventLog, event_log: SealableLog
) -> None:
    await append(log, 0, SAID)
    with pytest.raises(LogUnavailable, match=f"KASAL_ENCRYPTION_KEY.*{KEYS.now.id}"):
        await sealed_log(event_log, InstallationKeys("x" * 43)).read_stream(STREAM)
    with pytest.raises(LogUnavailable, match="KASAL_ENCRYPTION_KEY"):
        await sealed_log(event_log, None).read_stream(STREAM)


async def test_the_key_from_before_still_opens(log: SealedEventLog, event_log: SealableLog) -> None:
    await append(log, 0, SAID)
    later = sealed_log(event_log, InstallationKeys("x" * 43, before="k" * 43))
    assert WORD.encode() in (await later.read_stream(STREAM))[0].body


async def test_what_was_recorded_in_the_clear_is_read_as_ever_and_not_erased(
    log: SealedEventLog, event_log: SealableLog
) -> None:
    await append(sealed_log(event_log, None), 0, SAID)
    await append(log, 1, SAID)
    assert [event.body for event in await log.read_stream(STREAM)] == [msgspec.json.encode(SAID)] * 2
    with pytest.raises(Rejected, match="before contents were encrypted"):
        await append(log, 2, ExecutionErased())


async def test_a_text_that_looks_sealed_is_only_a_text(log: SealedEventLog, event_log: SealableLog) -> None:
    output = TaskOutput("", structured={"a": 1, "sealed": "QUJD"})
    event = TaskCompleted(step="s", attempt=1, task="t", output=output, duration_ms=1)
    await append(sealed_log(event_log, None), 0, event)
    await append(log, 0, event, stream="execution-f")
    for stream in (STREAM, "execution-f"):
        assert (await log.read_stream(stream))[0].body == msgspec.json.encode(event)


async def test_an_event_that_was_moved_does_not_open(log: SealedEventLog, event_log: SealableLog) -> None:
    await append(log, 0, SAID, SAID)
    first, second = await event_log.read_stream(STREAM)
    swapped = msgspec.structs.replace(first, version=second.version)
    with pytest.raises(LogUnavailable, match="was changed"):
        await log.opened([swapped])


async def test_the_largest_event_still_fits_when_it_is_sealed(log: SealedEventLog) -> None:
    await append(log, 0, ExecutionCancelled(reason="x" * 260_000))
    with pytest.raises(TooLarge):
        await append(log, 1, ExecutionCancelled(reason="x" * 262_144))


async def test_streams_without_contents_are_stored_as_they_are(
    log: SealedEventLog, event_log: SealableLog
) -> None:
    await append(log, 0, SAID, stream="workflow-w")
    assert (await event_log.read_stream("workflow-w"))[0].body == msgspec.json.encode(SAID)


async def test_keys_are_wrapped_anew_and_what_was_erased_stays_erased(
    log: SealedEventLog, event_log: SealableLog
) -> None:
    await append(log, 0, SAID)
    await append(log, 0, SAID, stream="execution-f")
    await append(log, 1, ExecutionErased(), stream="execution-f")
    changed = InstallationKeys("x" * 43, before="k" * 43)
    assert await rewrap(event_log, changed) == (1, 2)
    assert await rewrap(event_log, changed) == (0, 2)
    after = sealed_log(event_log, InstallationKeys("x" * 43))
    assert WORD.encode() in (await after.read_stream(STREAM))[0].body
    assert WORD.encode() not in (await after.read_stream("execution-f"))[0].body


async def test_an_erasure_beside_a_change_of_keys_is_not_undone(
    log: SealedEventLog, event_log: SealableLog
) -> None:
    await append(log, 0, SAID)
    (before,) = await event_log.keys([STREAM])
    await append(log, 1, ExecutionErased())
    await event_log.rewrap(before, KEYS.wrap(STREAM, KEYS.unwrap(before)))
    assert [key.wrapped for key in await event_log.keys([STREAM])] == [b""]
