"""What every content store does. `test_event_log.py` mounts it on each adapter, with a fixture `log`."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from application.contents import PART_BYTES, Contents, StoredPart, digest_of, parts_of
from application.ports import Append, EventLog
from domain.errors import Conflict, LogUnavailable, NotFound
from tests.contracts.event_log_commands import a_command

OWNER = "execution-1"
LARGE = "grüße ☃ " * 60_000
"""More than two parts."""


def with_contents(command: Append, *texts: str) -> Append:
    parts = [Contents.kept("default", command.stream, part) for text in texts for part in parts_of(text)]
    return msgspec.structs.replace(command, contents=tuple(parts))


async def text_of(log: EventLog, digest: str, tenant: str = "default", owner: str | None = None) -> str:
    contents = Contents(log)
    holding = await contents.find(tenant, digest, owner)
    return b"".join([part async for part in contents.stream(holding)]).decode()


class ContentStoreContract:
    async def test_what_came_with_an_append_is_there_when_it_is_answered(self, log: EventLog) -> None:
        await log.append(with_contents(a_command(OWNER), "one", "two", "one"))
        assert [await text_of(log, digest_of(text)) for text in (b"one", b"two")] == ["one", "two"]

    async def test_a_content_that_came_in_parts_is_read_whole(self, log: EventLog) -> None:
        parts = parts_of(LARGE)
        assert len(parts) == 3
        for part in reversed(parts):
            with pytest.raises(NotFound):
                await text_of(log, part.digest)
            await Contents(log).put("default", OWNER, part)
        assert await text_of(log, parts[0].digest) == LARGE

    async def test_a_part_that_comes_again_is_left_as_it_is(self, log: EventLog) -> None:
        (part,) = parts_of("text")
        stored = Contents.kept("default", OWNER, part)
        await asyncio.gather(*(log.put_part(stored) for _ in range(5)))
        await log.append(with_contents(a_command(OWNER), "text"))
        await log.put_part(StoredPart("default", OWNER, part.digest, 0, 4, b"other"))
        assert await log.read_part(OWNER, part.digest, 0) == b"text"
        assert [holding.parts for holding in await log.holdings("default", [part.digest])] == [1]

    async def test_each_owner_has_its_own(self, log: EventLog) -> None:
        for owner in ("execution-2", "execution-1"):
            await log.append(with_contents(a_command(owner), "shared"))
        digest = digest_of(b"shared")
        assert [h.owner for h in await log.holdings("default", [digest])] == ["execution-1", "execution-2"]
        contents = Contents(log)
        assert (await contents.find("default", digest, "execution-2")).owner == "execution-2"
        assert (await contents.find("default", digest, "execution-3")).owner == "execution-1"
        assert await contents.missing("default", "execution-3", [digest]) == (digest,)
        assert await contents.missing("default", "execution-1", [digest]) == ()

    async def test_another_tenant_sees_nothing(self, log: EventLog) -> None:
        await log.append(with_contents(a_command(OWNER), "secret"))
        with pytest.raises(NotFound):
            await text_of(log, digest_of(b"secret"), tenant="other")

    async def test_what_is_not_there_is_not_found(self, log: EventLog) -> None:
        for digest in ("0" * 64, "no digest", "", "\x00", "\ud800"):
            with pytest.raises(NotFound):
                await text_of(log, digest)
        assert await log.read_part(OWNER, "0" * 64, 0) is None
        assert list(await log.holdings("default", [])) == []

    async def test_a_part_holds_any_bytes(self, log: EventLog) -> None:
        body = bytes(range(256)) * (PART_BYTES // 256)
        await log.put_part(StoredPart("default", OWNER, "d" * 64, 0, len(body), body))
        assert await log.read_part(OWNER, "d" * 64, 0) == body

    async def test_a_batch_of_commands_keeps_the_contents_of_each(self, log: EventLog) -> None:
        commands = [with_contents(a_command(f"execution-{n}"), f"text {n}", "shared") for n in range(20)]
        stale = with_contents(a_command("execution-1", at=5), "stale")
        *_, refused = await asyncio.gather(*map(log.append, [*commands, stale]), return_exceptions=True)
        assert isinstance(refused, Conflict)
        for number in range(20):
            assert await text_of(log, digest_of(f"text {number}".encode())) == f"text {number}"
        assert len(await log.holdings("default", [digest_of(b"shared")])) == 20

    async def test_a_closed_store_takes_nothing(self, log: EventLog) -> None:
        await log.close()
        with pytest.raises(LogUnavailable):
            await Contents(log).put("default", OWNER, *parts_of("late"))
