"""An export of a log, put into an empty one on either database: the same bytes, positions and hash tree."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import cloudevents.core.formats.json as cloudevents_json
import msgspec
import pytest
from cloudevents.core.v1.event import CloudEvent

from application.audit.exporting import Exports
from application.audit.importing import append_of, appends_of, check_export, import_events
from application.audit.merkle import StoredEvent
from application.audit.ports import AuditStore
from application.contents import Contents, parts_of
from application.log_port import SealableLog
from domain.errors import Invalid, NotFound, Rejected
from domain.execution import Content, ExecutionErased, ModelCallStarted
from domain.message import tag_of
from infrastructure.event_log.opening import open_audit_store, open_event_log
from infrastructure.event_log.schema import migrate
from infrastructure.nats.cloudevents import from_cloudevent, to_cloudevent
from infrastructure.sealing.installation_key import InstallationKeys
from infrastructure.sealing.log import SealedEventLog, opened_with
from infrastructure.sealing.opening import sealed_log
from tests.infrastructure.event_log.audited import checkpoint, grow, store
from tests.projections.histories import history_of
from tests.sealing import KEYS

__all__ = ["store"]

LARGE = "Ünïcödé " * 60_000
PARTS = parts_of(LARGE)


@pytest.fixture
async def log(event_log: SealableLog) -> SealedEventLog:
    """Executions that ran beside one another, and one event that names a text of several parts."""
    log = sealed_log(event_log, KEYS)
    for append in appends_of(history_of(5, executions=12).events):
        await log.append(append)
    last = (await log.read_stream("execution-e00001"))[-1]
    call = ModelCallStarted(
        step="first",
        attempt=1,
        call="c",
        model="m",
        request=Content(PARTS[0].digest, PARTS[0].total_bytes, LARGE[:10], is_truncated=True, is_stored=True),
    )
    named = msgspec.structs.replace(
        last, version=last.version + 1, tag=tag_of(call), body=msgspec.json.encode(call)
    )
    contents = tuple(Contents.kept("default", last.stream, part) for part in PARTS)
    await log.append(msgspec.structs.replace(append_of([named]), contents=contents))
    return log


def exports(log: SealedEventLog, store: AuditStore) -> Exports:
    return Exports(store, Contents(log), to_cloudevent, log)


async def whole(log: SealedEventLog, store: AuditStore) -> list[bytes]:
    return [line async for line in exports(log, store).positions("default", 0, None)]


async def rows(store: AuditStore) -> Sequence[StoredEvent]:
    return await store.events(0, 10_000)


@asynccontextmanager
async def empty_log(tmp_path: Path) -> AsyncIterator[tuple[SealedEventLog, AuditStore]]:
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    migrate(url)
    log, store = sealed_log(await open_event_log(url), InstallationKeys("o" * 43)), open_audit_store(url)
    try:
        yield log, store
    finally:
        await log.close()
        await store.close()


async def test_an_import_makes_the_same_log(log: SealedEventLog, store: AuditStore, tmp_path: Path) -> None:
    lines = await whole(log, store)
    expected = check_export(lines, from_cloudevent, opened_with)
    async with empty_log(tmp_path) as (copy, copied):
        assert await import_events(copy, lines, from_cloudevent) == expected.events == await log.head()
        assert await rows(copied) == await rows(store)
        assert (
            (await checkpoint(copied))._tree.root() == (await checkpoint(store))._tree.root() == expected.root
        )
        assert await whole(copy, copied) == lines
        holding = await Contents(copy).find("default", PARTS[0].digest)
        assert b"".join([part async for part in Contents(copy).stream(holding)]).decode() == LARGE
        with pytest.raises(Rejected, match="holds"):
            await import_events(copy, lines, from_cloudevent)


async def test_an_import_brings_what_was_erased_as_it_is(
    log: SealedEventLog, store: AuditStore, tmp_path: Path
) -> None:
    last = (await log.read_stream("execution-e00001"))[-1]
    erased = ExecutionErased()
    event = msgspec.structs.replace(
        last, version=last.version + 1, tag=tag_of(erased), body=msgspec.json.encode(erased)
    )
    await log.append(append_of([event]))
    lines = await whole(log, store)
    async with empty_log(tmp_path) as (copy, copied):
        check_export(lines, from_cloudevent, opened_with)
        await import_events(copy, lines, from_cloudevent)
        assert await rows(copied) == await rows(store)
        assert await copy.read_stream("execution-e00001") == await log.read_stream("execution-e00001")
        assert await copy.secret_of("execution-e00001") == b""


async def test_every_line_is_a_cloudevent_for_others(log: SealedEventLog, store: AuditStore) -> None:
    for line in await whole(log, store):
        event = cloudevents_json.JSONFormat().read(CloudEvent, line)
        assert event.get_specversion() == "1.0"
        assert json.loads(line)["type"].startswith("io.kasal.")


async def test_one_execution_is_exported_by_itself(log: SealedEventLog, store: AuditStore) -> None:
    lines = [line async for line in await exports(log, store).execution("default", "e00002")]
    found = [from_cloudevent(line) for line in lines]
    assert found == list(await log.read_stream("execution-e00002"))
    with pytest.raises(Invalid, match="from position 1"):
        check_export(lines, from_cloudevent, opened_with)
    for tenant, execution_id in (("default", "nobody"), ("other", "e00002")):
        with pytest.raises(NotFound):
            await exports(log, store).execution(tenant, execution_id)


async def test_a_range_has_just_its_positions(log: SealedEventLog, store: AuditStore) -> None:
    lines = [line async for line in exports(log, store).positions("default", 10, 50)]
    assert [from_cloudevent(line).position for line in lines] == list(range(11, 51))
    assert [line async for line in exports(log, store).positions("other", 0, None)] == []


async def test_what_was_changed_in_a_file_is_named_by_its_line(
    log: SealedEventLog, store: AuditStore
) -> None:
    lines = await whole(log, store)
    part = next(number for number, line in enumerate(lines) if b"io.kasal.content" in line)
    event = next(n for n, line in enumerate(lines) if b'"actor":"user:ada"' in line and n > 3)
    changed = [
        (event, lines[event].replace(b"user:ada", b"user:eve")),
        (event, lines[event].replace(b'"data":{', b'"data":{ ')),
        (event, b"{}"),
        (event, b"nonsense"),
        (event, lines[event + 1]),
        (part, lines[part].replace(b'"data_base64":"', b'"data_base64":"AAAA')),
    ]
    for number, line in changed:
        assert line != lines[number]
        file = [*lines[:number], line, *lines[number + 1 :]]
        with pytest.raises(Invalid, match=f"line {number + 1}:"):
            check_export(file, from_cloudevent, opened_with)


async def test_an_import_stops_when_somebody_else_writes(
    log: SealedEventLog, store: AuditStore, tmp_path: Path
) -> None:
    lines = await whole(log, store)
    async with empty_log(tmp_path) as (copy, _):
        position = itertools.count()

        class Busy:
            """The log, to which somebody else appends meanwhile."""

            def __getattr__(self, name: str) -> object:
                return getattr(copy, name)

            async def append_stored(self, append: object) -> object:
                if next(position) == 3:
                    await grow(copy, 1)
                return await copy.append_stored(append)  # type: ignore[arg-type]

        with pytest.raises(Exception, match="somebody else writes"):
            await import_events(Busy(), lines, from_cloudevent)  # type: ignore[arg-type]
