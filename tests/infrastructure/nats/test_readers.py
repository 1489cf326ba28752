"""Other systems at our NATS get every event and can change nothing: on the embedded server, on compose's."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from nats import errors
from nats.aio.client import Client

from infrastructure.nats.accounts import STORED_EVENTS
from infrastructure.nats.connection import connect
from infrastructure.nats.feed import JetStreamFeed
from infrastructure.nats.jetstream import ask
from infrastructure.nats.server import free_port, packaged_binary, start_nats_server
from infrastructure.nats.subjects import EVENTS
from tests.contracts.event_feed_contract import a_page, an_event
from tests.nats_servers import nats_binary
from tests.waiting import eventually

ROOT = Path(__file__).parents[3]
INBOX = "_INBOX.ours"


class Urls(NamedTuple):
    ours: str
    readers: str


@pytest.fixture(params=["embedded", "compose"])
async def urls(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Urls]:
    """A server as `kasal up` starts it, and one with the file that docker-compose gives it."""
    if request.param == "embedded":
        server = await start_nats_server(tmp_path / "nats", binary=nats_binary())
        yield Urls(server.url, server.reader_url)
        await server.stop()
        return
    port = free_port()
    text = (ROOT / "infrastructure/nats/nats-server.conf").read_text(encoding="utf-8")
    text = text.replace("4222", str(port)).replace("8222", str(free_port())).replace("/data", str(tmp_path))
    path = tmp_path / "nats-server.conf"
    path.write_text(text, encoding="utf-8")
    secrets = {"NATS_PASSWORD": "ours", "NATS_READER_PASSWORD": "theirs"}
    command = (str(nats_binary() or packaged_binary()), "-c", str(path), "-l", str(tmp_path / "log"))
    process = await asyncio.create_subprocess_exec(*command, env=os.environ | secrets)
    yield Urls(f"nats://kasal:ours@127.0.0.1:{port}", f"nats://reader:theirs@127.0.0.1:{port}")
    process.terminate()
    await process.wait()


@pytest.fixture
async def feed(urls: Urls) -> AsyncIterator[JetStreamFeed]:
    connection = await connect(urls.ours, "test")
    feed = JetStreamFeed(connection)
    await feed.create(1)
    yield feed
    await connection.close()


class Reader(Client):
    """A client as another system has it; remembers what it was refused."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals: list[str] = []

    async def remember(self, error: Exception) -> None:
        self.refusals.append(str(error).lower())

    async def settle(self) -> None:
        """The server has taken what was asked of it.

        nats-py's PING overtakes what waits to be written, so the first answer may come before.
        """
        await self.flush()
        await self.flush()


@pytest.fixture
async def reader(urls: Urls) -> AsyncIterator[Reader]:
    client = Reader()
    await client.connect(urls.readers, error_cb=client.remember)
    yield client
    await client.close()


async def last_sequence(urls: Urls) -> int:
    connection = await connect(urls.ours, "test")
    state = (await ask(connection, f"STREAM.INFO.{EVENTS}")).state
    await connection.close()
    return state.last_seq


async def test_a_reader_gets_events_as_they_pass(feed: JetStreamFeed, reader: Reader) -> None:
    passing = await reader.subscribe("kasal.events.*.execution.*.completed")
    await reader.settle()
    tags = ["execution.completed" if position % 3 == 0 else "execution.failed" for position in range(20)]
    await feed.publish([an_event(position, tag=tag) for position, tag in enumerate(tags) if position])
    for position in range(3, 20, 3):
        message = await passing.next_msg(30)
        assert message.headers is not None
        assert int(message.headers["Kasal-Position"]) == position


async def test_a_reader_can_write_nothing(urls: Urls, feed: JetStreamFeed, reader: Reader) -> None:
    await feed.publish(a_page(1, 5))
    ours = ("kasal.events.default.execution.a.completed", "kasal.commands", "kasal.work.default.a.b.1")
    for subject in ours:
        await reader.publish(subject, b"{}")
    for subject in (f"$JS.API.CONSUMER.CREATE.{EVENTS}", f"$JS.API.STREAM.DELETE.{EVENTS}", "$JS.API.INFO"):
        with pytest.raises((errors.TimeoutError, errors.NoRespondersError)):
            await reader.request(subject, b"{}", timeout=0.3)
    await reader.settle()
    refused = "violation for publish"
    await eventually(lambda: len([each for each in reader.refusals if refused in each]) == 6)
    assert await last_sequence(urls) == 5


async def test_a_reader_can_not_have_the_server_write_for_it(
    urls: Urls, feed: JetStreamFeed, reader: Reader
) -> None:
    await feed.publish(a_page(1, 5))
    connection = await connect(urls.ours, "test")
    heard = await connection.subscribe("kasal.commands")
    await connection.flush()
    question = json.dumps({"seq": 2}).encode()
    for answer_to in ("kasal.events.default.execution.a.completed", "kasal.commands"):
        await reader.publish(STORED_EVENTS, question, reply=answer_to)
    answer = await reader.request(STORED_EVENTS, question)
    assert answer.headers is not None
    assert answer.headers["Nats-Sequence"] == "2"
    await connection.flush()
    assert heard.pending_msgs == 0
    assert await last_sequence(urls) == 5
    await connection.close()


async def test_a_reader_hears_nothing_but_events(urls: Urls, reader: Reader) -> None:
    heard: list[str] = []

    async def on_message(message: object) -> None:
        heard.append(str(message))

    for subject in (">", "kasal.work.>", "kasal.commands", "kasal.tokens.>"):
        await reader.subscribe(subject, cb=on_message)
    await reader.subscribe("_INBOX.>", cb=on_message)
    await reader.settle()
    connection = await connect(urls.ours, "test")
    for subject in ("kasal.work.default.a.b.1", "kasal.commands", "kasal.tokens.default.a", INBOX):
        await connection.publish(subject, b"secret")
    await connection.flush()
    await reader.settle()
    await connection.close()
    assert heard == []
    assert len([refusal for refusal in reader.refusals if "violation for subscription" in refusal]) == 4


async def test_the_subscriber_of_the_documentation_gets_every_event(
    urls: Urls, feed: JetStreamFeed, tmp_path: Path
) -> None:
    """The program as it stands in docs/streams.md, over a restart of its own from where it was."""
    text = (ROOT / "docs/streams.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "follow.py"
    path.write_text(program, encoding="utf-8")
    page = a_page(1, 1_400)
    await feed.publish(page[:700])
    first = await lines_of(path, urls.readers, 0, 650)
    assert first == [str(position) for position in range(1, 651)]
    following = asyncio.create_task(lines_of(path, urls.readers, 650, 750))
    await feed.publish(page[700:])
    assert await following == [str(position) for position in range(651, 1_401)]


async def lines_of(path: Path, url: str, after: int, count: int) -> list[str]:
    command = (sys.executable, str(path), url, str(after))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(30):
        lines = [(await process.stdout.readline()).split()[0].decode() for _ in range(count)]
    process.kill()
    await process.wait()
    return lines


async def test_the_readers_password_outlives_a_restart_and_lies_in_a_private_file(tmp_path: Path) -> None:
    passwords = []
    for _ in range(2):
        server = await start_nats_server(tmp_path / "nats", binary=nats_binary())
        passwords.append(server.reader_url.rpartition("@")[0])
        await server.stop()
    assert passwords[0] == passwords[1]
    mode = (tmp_path / "nats/reader.secret").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
