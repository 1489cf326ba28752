"""Tamper evidence on both databases: whatever is changed behind the log's back is found, and where."""

from __future__ import annotations

import psycopg
import pytest

from application.audit.merkle import leaf_hash
from application.audit.notes import body_of
from application.audit.ports import AuditStore
from application.audit.tiles import Place
from application.audit.verifying import Verified, verify_log
from application.contents import Contents, parts_of
from application.ports import EventLog
from infrastructure.audit_keys import PublicKeys, SigningKey
from infrastructure.event_log.urls import is_sqlite
from tests.infrastructure.event_log.audited import (
    KEY,
    KEYS,
    audited,
    checkpoint,
    grow,
    log,
    store,
    tamper,
)

__all__ = ["log", "store"]

HOLD = "ALTER TABLE kasal_checkpoints DISABLE TRIGGER ALL"


def where(result: Verified) -> list[tuple[int, int] | None]:
    return [finding.positions for finding in result.findings]


async def test_a_log_that_nobody_changed_is_sound(log: EventLog, store: AuditStore) -> None:
    result = await verify_log(store, KEYS)
    assert (result.events, result.covered, result.checkpoints, result.count) == (1_010, 1_000, 5, 0)


COLUMNS = {
    "state": '\'{"type":"thing.happeneD"}\'',
    "metadata": "metadata || ' '",
    "topic": "'thing.happenes'",
    "originator_id": "'execution-z'",
    "originator_version": "10000",
}


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("position", [1, 256, 257, 511, 1_000])
async def test_an_event_that_was_changed_is_named(
    log: EventLog, store: AuditStore, event_log_url: str, column: str, position: int
) -> None:
    tamper(
        event_log_url,
        f"UPDATE kasal_events SET {column} = {COLUMNS[column]} WHERE notification_id = {position}",
    )
    result = await verify_log(store, KEYS)
    assert [(f.positions, f.message) for f in result.findings] == [
        ((position, position), "the event is not the one that was signed")
    ]
    assert result.checkpoints == 5


async def test_every_changed_event_is_named_however_many_there_are(
    log: EventLog, store: AuditStore, event_log_url: str
) -> None:
    changed = "notification_id IN (2, 3, 299, 300, 301, 999)"
    tamper(event_log_url, f"UPDATE kasal_events SET topic = 'x' WHERE {changed}")
    result = await verify_log(store, KEYS)
    assert where(result) == [(n, n) for n in (2, 3, 299, 300, 301, 999)]
    tamper(event_log_url, "UPDATE kasal_events SET topic = 'x'")
    result = await verify_log(store, KEYS)
    assert (result.count, len(result.findings)) == (1_000, 100)


async def test_missing_swapped_and_inserted_events_are_named(
    log: EventLog, store: AuditStore, event_log_url: str
) -> None:
    move = "UPDATE kasal_events SET notification_id = {} WHERE notification_id = {}"
    tamper(event_log_url, *(move.format(*pair) for pair in ((-1, 20), (20, 900), (900, -1))))
    assert where(await verify_log(store, KEYS)) == [(20, 20), (900, 900)]
    tamper(event_log_url, *(move.format(*pair) for pair in ((-1, 20), (20, 900), (900, -1))))
    assert (await verify_log(store, KEYS)).is_sound

    tamper(event_log_url, "DELETE FROM kasal_events WHERE notification_id = 650")
    result = await verify_log(store, KEYS)
    assert [str(finding) for finding in result.findings] == ["position 650: the event is missing"]
    insert = "INSERT INTO kasal_events SELECT 650, 'execution-forged', 1, topic, state, metadata"
    tamper(event_log_url, f"{insert} FROM kasal_events WHERE notification_id = 649")
    assert where(await verify_log(store, KEYS)) == [(650, 650)]


async def test_an_event_put_in_between_moves_all_that_follow(
    log: EventLog, store: AuditStore, event_log_url: str
) -> None:
    tamper(
        event_log_url,
        "UPDATE kasal_events SET notification_id = -notification_id - 1 WHERE notification_id > 998",
        "UPDATE kasal_events SET notification_id = -notification_id WHERE notification_id < 0",
        "INSERT INTO kasal_events SELECT 999, 'execution-forged', 1, topic, state, metadata "
        "FROM kasal_events WHERE notification_id = 998",
        "UPDATE kasal_head SET position = position + 1",
    )
    result = await verify_log(store, KEYS)
    assert where(result) == [(999, 999), (1_000, 1_000)]


async def test_a_log_that_was_cut_off_is_found_out(
    log: EventLog, store: AuditStore, event_log_url: str
) -> None:
    tamper(event_log_url, "DELETE FROM kasal_events WHERE notification_id > 990")
    result = await verify_log(store, KEYS)
    assert where(result) == [None, (991, 1_000)]
    assert "head counts 1010" in result.findings[0].message


async def test_hashes_that_were_changed_with_the_event_do_not_help(
    log: EventLog, store: AuditStore, event_log_url: str
) -> None:
    """Whoever changes the stored hash too is caught by the checkpoint, to the range that it added."""
    tamper(event_log_url, "UPDATE kasal_events SET topic = 'x' WHERE notification_id = 400")
    tile = bytearray((await store.tiles([Place(0, 1)]))[Place(0, 1)])
    tile[(399 - 256) * 32 : (400 - 256) * 32] = leaf_hash((await store.events(399, 400))[0])
    literal = f"X'{tile.hex()}'" if is_sqlite(event_log_url) else f"'\\x{tile.hex()}'::bytea"
    tamper(event_log_url, f"UPDATE kasal_tiles SET hashes = {literal} WHERE level = 0 AND number = 1")
    result = await verify_log(store, KEYS)
    assert [str(finding) for finding in result.findings] == [
        "positions 301..512: not the events that the checkpoint of size 512 was signed over"
    ]
    assert result.covered == 300


async def test_a_stored_hash_that_was_changed_alone_is_told_from_an_event(
    log: EventLog, store: AuditStore, event_log_url: str
) -> None:
    tiles = await store.tiles([Place(0, 2)])
    forged = bytes(32) + tiles[Place(0, 2)][32:]
    last = await store.last_checkpoint()
    assert last is not None
    body = body_of("kasal/test", 1_001, last.root, last.at)
    signed = KEYS.check(KEY.sign(body))
    assert await store.add(1_000, {Place(0, 2): forged}, signed)
    result = await verify_log(store, KEYS)
    assert str(result.findings[0]).startswith("position 513: its stored hash was changed")
    assert result.findings[1].positions == (1_001, 1_001)


async def test_a_checkpoint_that_was_changed_or_forged_is_named(
    log: EventLog, store: AuditStore, event_log_url: str
) -> None:
    with pytest.raises((psycopg.Error, Exception), match="only ever added to"):
        tamper(event_log_url, "UPDATE kasal_checkpoints SET note = ''")
    lift = "DROP TRIGGER kasal_checkpoints_UPDATE" if is_sqlite(event_log_url) else HOLD
    tamper(
        event_log_url,
        lift,
        "UPDATE kasal_checkpoints SET note = replace(note, '512', '513') WHERE size = 512",
        "UPDATE kasal_checkpoints SET note = 'nonsense' WHERE size = 3",
    )
    result = await verify_log(store, KEYS)
    assert [finding.message.partition(":")[0] for finding in result.findings] == [
        "checkpoint of size 3",
        "checkpoint of size 512",
    ]
    stranger = PublicKeys([SigningKey.generate("kasal/test").public])
    assert (await verify_log(store, stranger)).count == 5


async def test_a_checkpoint_kept_elsewhere_tells_on_one_who_holds_the_key(
    event_log: EventLog, store: AuditStore, event_log_url: str
) -> None:
    """The log is written anew from an event on, with the right key: only the witness knows better."""
    await audited(event_log, store, (100, 200))
    kept = await store.last_checkpoint()
    assert kept is not None
    lift = "DROP TRIGGER kasal_checkpoints_DELETE" if is_sqlite(event_log_url) else HOLD
    tamper(
        event_log_url,
        lift,
        "DELETE FROM kasal_checkpoints",
        "DELETE FROM kasal_tiles",
        "UPDATE kasal_events SET topic = 'x' WHERE notification_id = 150",
    )
    await checkpoint(store)
    assert (await verify_log(store, KEYS)).is_sound
    result = await verify_log(store, KEYS, witnessed=[kept])
    assert where(result) == [(1, 200)]
    tamper(event_log_url, "DELETE FROM kasal_events", "UPDATE kasal_head SET position = 0", lift_again(lift))
    assert (1, 200) in where(await verify_log(store, KEYS, witnessed=[kept]))


def lift_again(lift: str) -> str:
    """A statement that does nothing where the guard is off already."""
    return "SELECT 1" if lift.startswith("DROP") else lift


async def test_a_large_text_that_was_changed_is_named(
    event_log: EventLog, store: AuditStore, event_log_url: str
) -> None:
    await audited(event_log, store, (3,))
    texts = [parts_of(letter * size) for letter, size in (("a", 10), ("b", 600_000), ("c", 300_000))]
    for owner, parts in (("execution-1", texts[0]), ("execution-1", texts[1]), ("execution-2", texts[1])):
        for part in parts:
            await event_log.put_part(Contents.kept("default", owner, part))
    await event_log.put_part(Contents.kept("default", "execution-3", texts[2][0]))
    sound = await verify_log(store, KEYS)
    assert (sound.is_sound, sound.texts) == (True, 4)
    other = "zeroblob(3)" if is_sqlite(event_log_url) else r"'\x000000'::bytea"
    changed = f"owner = 'execution-2' AND digest = '{texts[1][0].digest}' AND number = 2"
    kept = "substr(body, 1, length(body) - 3)"
    tamper(event_log_url, f"UPDATE kasal_contents SET body = {kept} || {other} WHERE {changed}")
    result = await verify_log(store, KEYS)
    assert [str(finding) for finding in result.findings] == [
        f"a text of execution-2 is not what its digest says: {texts[1][0].digest}"
    ]


async def test_a_log_without_checkpoints_proves_nothing(event_log: EventLog, store: AuditStore) -> None:
    await grow(event_log, 3)
    result = await verify_log(store, KEYS)
    assert [finding.message for finding in result.findings] == [
        "there is no checkpoint, so nothing proves what was recorded"
    ]
