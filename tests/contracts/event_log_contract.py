"""What every event log does. `test_event_log.py` mounts it on each adapter, with a fixture `log`."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from application.ports import MAX_EVENT_BYTES, Append, Appended, EventLog, Replayed
from domain.errors import Conflict, Invalid, LogUnavailable, TooLarge
from tests.contracts.event_log_commands import a_command


async def outcomes(log: EventLog, *appends: Append) -> list[Appended | BaseException]:
    """Sent at once, so that they meet in one batch where there are batches."""
    return await asyncio.gather(*map(log.append, appends), return_exceptions=True)


class EventLogContract:
    async def test_an_empty_log_holds_nothing(self, log: EventLog) -> None:
        assert await log.head() == 0
        assert list(await log.read_all(0, 10)) == []
        assert list(await log.read_stream("order-1")) == []
        assert await log.command_record("default:POST /v1:k") is None

    async def test_what_was_appended_is_read_as_it_was_given(self, log: EventLog) -> None:
        command = a_command("order-1", body='{"text":"grüße ☃ \\u0000"}'.encode())
        assert await log.append(command) == Appended(version=1, position=1)
        (event,) = await log.read_stream("order-1")
        assert (event.position, event.stream, event.version) == (1, "order-1", 1)
        assert (event.tag, event.body) == ("thing.happened", command.events[0].body)
        assert event.metadata == command.events[0].metadata

    async def test_a_body_may_hold_any_bytes(self, log: EventLog) -> None:
        body = bytes(range(256))
        await log.append(a_command("order-1", body=body))
        assert [event.body for event in await log.read_all(0, 1)] == [body]

    async def test_metadata_may_hold_any_text(self, log: EventLog) -> None:
        command = a_command("order-1")
        odd = msgspec.structs.replace(
            command.events[0].metadata, actor="user:\x00 ☃", traceparent="00-1-2-01"
        )
        event = msgspec.structs.replace(command.events[0], metadata=odd)
        await log.append(msgspec.structs.replace(command, events=(event,)))
        assert (await log.read_all(0, 1))[0].metadata == odd

    async def test_the_answer_names_the_last_event(self, log: EventLog) -> None:
        await log.append(a_command("order-1"))
        assert await log.append(a_command("order-2", events=3)) == Appended(version=3, position=4)

    async def test_positions_have_no_hole_after_conflicts(self, log: EventLog) -> None:
        await log.append(a_command("order-1"))
        await outcomes(log, *(a_command("order-1", at=0) for _ in range(5)))
        await outcomes(log, *(a_command(f"order-{n}") for n in range(2, 7)))
        assert [event.position for event in await log.read_all(0, 100)] == [1, 2, 3, 4, 5, 6]
        assert await log.head() == 6

    async def test_a_stale_version_is_refused(self, log: EventLog) -> None:
        await log.append(a_command("order-1", events=2))
        with pytest.raises(Conflict, match="order-1 is at version 2, not 1"):
            await log.append(a_command("order-1", at=1))
        with pytest.raises(Conflict, match="order-1 is at version 2, not 9"):
            await log.append(a_command("order-1", at=9))

    async def test_a_version_that_no_stream_can_have_is_refused(self, log: EventLog) -> None:
        for version in (-1, 2**63, 10**30):
            with pytest.raises(Conflict):
                await log.append(a_command("order-1", at=version))

    async def test_of_two_that_expect_the_same_version_at_once_the_first_wins(self, log: EventLog) -> None:
        first, second = await outcomes(log, a_command("order-1", at=0), a_command("order-1", at=0))
        assert first == Appended(1, 1)
        assert isinstance(second, Conflict)

    async def test_a_chain_sent_at_once_is_appended_whole(self, log: EventLog) -> None:
        chain = [a_command("order-1", at=version) for version in range(5)]
        assert await outcomes(log, *chain) == [Appended(n, n) for n in range(1, 6)]

    async def test_a_batch_decides_each_command_for_itself(self, log: EventLog) -> None:
        got = await outcomes(
            log,
            a_command("order-1", at=0, events=2),
            a_command("order-1", at=1),
            a_command("order-2", at=0),
            a_command("order-1", at=2),
            a_command("order-3", at=7),
            a_command("order-4", at=0, events=2),
        )
        assert [o if isinstance(o, Appended) else type(o) for o in got] == [
            Appended(2, 2),
            Conflict,
            Appended(1, 3),
            Appended(3, 4),
            Conflict,
            Appended(2, 6),
        ]
        read = await log.read_all(0, 100)
        assert [(e.stream, e.version) for e in read] == [
            ("order-1", 1),
            ("order-1", 2),
            ("order-2", 1),
            ("order-1", 3),
            ("order-4", 1),
            ("order-4", 2),
        ]

    async def test_a_guard_holds(self, log: EventLog) -> None:
        await log.append(a_command("workflow-1", events=3))
        await log.append(a_command("execution-1", guards=(("workflow-1", 3), ("tool-1", 0))))
        assert await log.head() == 4

    async def test_a_guard_that_moved_refuses_the_command(self, log: EventLog) -> None:
        await log.append(a_command("workflow-1", events=3))
        with pytest.raises(Conflict, match="workflow-1 is at version 3, not 2"):
            await log.append(a_command("execution-1", guards=(("tool-1", 0), ("workflow-1", 2))))
        assert list(await log.read_stream("execution-1")) == []

    async def test_a_guard_sees_the_commands_before_it_in_its_batch(self, log: EventLog) -> None:
        got = await outcomes(
            log,
            a_command("execution-1", guards=(("workflow-1", 0),)),
            a_command("workflow-1", at=0),
            a_command("execution-2", guards=(("workflow-1", 0),)),
            a_command("execution-3", guards=(("workflow-1", 1),)),
        )
        assert [type(o) for o in got] == [Appended, Appended, Conflict, Appended]

    async def test_a_key_is_stored_with_where_its_command_landed(self, log: EventLog) -> None:
        await log.append(a_command("order-1"))
        command = a_command("order-2", events=2, key="default:POST /v1/orders:k1")
        await log.append(command)
        assert command.record is not None
        assert await log.command_record(command.record.key) == msgspec.structs.replace(
            command.record, version=2, position=3
        )

    async def test_a_known_key_is_replayed_and_nothing_appended(self, log: EventLog) -> None:
        first = a_command("order-1", key="k1")
        await log.append(first)
        for again in (a_command("order-2", key="k1"), a_command("order-1", at=0, key="k1")):
            with pytest.raises(Replayed) as replay:
                await log.append(again)
            assert first.record is not None
            assert replay.value.record == msgspec.structs.replace(first.record, version=1, position=1)
        assert await log.head() == 1

    async def test_the_same_key_twice_at_once_has_one_effect(self, log: EventLog) -> None:
        got = await outcomes(log, *(a_command(f"order-{n}", key="k1") for n in range(4)))
        assert [type(o) for o in got] == [Appended, Replayed, Replayed, Replayed]
        assert await log.head() == 1

    async def test_a_key_of_a_refused_command_stays_free(self, log: EventLog) -> None:
        got = await outcomes(
            log,
            a_command("order-1", at=5, key="k1"),
            a_command("order-2", key="k1"),
            a_command("order-3", key="k2"),
        )
        assert [type(o) for o in got] == [Conflict, Appended, Appended]
        record = await log.command_record("k1")
        assert record is not None
        assert (record.version, record.position) == (1, 1)

    async def test_an_event_above_the_bound_is_refused(self, log: EventLog) -> None:
        await log.append(a_command("order-1", body=b"x" * MAX_EVENT_BYTES))
        with pytest.raises(TooLarge, match="262144"):
            await log.append(a_command("order-2", body=b"x" * (MAX_EVENT_BYTES + 1)))

    @pytest.mark.parametrize("name", ["", "order-\x00", "order-\ud800", "o" * 1025])
    async def test_a_name_that_can_not_be_stored_is_refused(self, log: EventLog, name: str) -> None:
        for command in (
            a_command(name),
            a_command("order-1", tag=name),
            a_command("order-1", key=name),
            a_command("order-1", guards=((name, 0),)),
        ):
            with pytest.raises(Invalid):
                await log.append(command)
        assert list(await log.read_stream(name)) == []
        assert await log.command_record(name) is None
        assert await log.head() == 0

    async def test_a_long_name_is_stored(self, log: EventLog) -> None:
        name = "ö" * 512
        await log.append(a_command(name, key=name, guards=((name, 0),)))
        assert len(await log.read_stream(name)) == 1

    async def test_a_command_without_events_is_refused(self, log: EventLog) -> None:
        with pytest.raises(Invalid):
            await log.append(a_command("order-1", events=0))

    async def test_a_stream_is_read_beyond_a_version(self, log: EventLog) -> None:
        await log.append(a_command("order-1", events=5))
        await log.append(a_command("order-2", events=2))
        assert [e.version for e in await log.read_stream("order-1", after_version=3)] == [4, 5]
        assert list(await log.read_stream("order-1", after_version=5)) == []
        assert list(await log.read_stream("order-1", after_version=10**30)) == []

    async def test_the_version_of_a_stream_is_that_of_its_last_event(self, log: EventLog) -> None:
        await log.append(a_command("order-1", events=5))
        await log.append(a_command("order-2", events=2))
        versions = [await log.version_of(name) for name in ("order-1", "order-2", "order-3", "", "a\0b")]
        assert versions == [5, 2, 0, 0, 0]

    async def test_the_log_is_read_in_pages(self, log: EventLog) -> None:
        await outcomes(log, *(a_command(f"order-{n}", events=2) for n in range(5)))
        assert [e.position for e in await log.read_all(0, 3)] == [1, 2, 3]
        assert [e.position for e in await log.read_all(3, 100)] == [4, 5, 6, 7, 8, 9, 10]
        assert list(await log.read_all(10, 100)) == []
        assert list(await log.read_all(10**30, 100)) == []

    async def test_who_waits_is_woken_by_an_append(self, log: EventLog) -> None:
        waiting = asyncio.ensure_future(log.wait_beyond(0, timeout_s=90))
        await asyncio.sleep(0)
        await log.append(a_command("order-1"))
        async with asyncio.timeout(30):
            await waiting

    async def test_nobody_waits_for_what_is_there(self, log: EventLog) -> None:
        await log.append(a_command("order-1"))
        async with asyncio.timeout(30):
            await log.wait_beyond(0, timeout_s=90)

    async def test_waiting_ends_without_an_event_and_without_an_error(self, log: EventLog) -> None:
        await log.wait_beyond(0, timeout_s=0.05)
        await log.wait_beyond(0, timeout_s=0)

    async def test_closing_answers_who_is_queued_and_refuses_who_comes_later(self, log: EventLog) -> None:
        queued = [asyncio.ensure_future(log.append(a_command(f"order-{n}"))) for n in range(20)]
        await asyncio.sleep(0)
        await log.close()
        assert [(await answer).position for answer in queued] == list(range(1, 21))
        with pytest.raises(LogUnavailable):
            await log.append(a_command("order-x"))
        await log.close()

    async def test_who_waits_is_let_go_when_the_log_closes(self, log: EventLog) -> None:
        waiting = asyncio.ensure_future(log.wait_beyond(0, timeout_s=90))
        await asyncio.sleep(0)
        await log.close()
        async with asyncio.timeout(30):
            await waiting

    async def test_a_caller_that_went_away_disturbs_nobody(self, log: EventLog) -> None:
        gone = asyncio.ensure_future(log.append(a_command("order-1")))
        stays = asyncio.ensure_future(log.append(a_command("order-2")))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await stays).version == 1
        assert (await log.append(a_command("order-3"))).position == await log.head()
