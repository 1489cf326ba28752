"""Requests and replies over NATS: how runners reach a process that has the log.

Called by `wiring`: `serve` beside the log, `request` in runners. Its one rule: every request may be sent
again, so whatever is unclear is tried again until the time is over.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress

import structlog
from nats import errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from application.ports import Handler
from domain.errors import TooLarge, Unavailable
from infrastructure.nats.connection import Connection

log = structlog.get_logger()

ATTEMPT_S = 5.0
"""An answer that takes longer is asked for again: the question or the answer may be lost."""

PAUSE_S = (0.02, 0.5)
MAX_WAITING, MAX_WAITING_BYTES = 4096, 64 * 1024 * 1024
"""What may wait in one server; what is beyond is dropped and comes again."""

FAILED = "Kasal-Failed"
"""Header of a reply that is no answer; its value says why."""


async def request(connection: Connection, subject: str, body: bytes, timeout_s: float) -> bytes:
    """The answer. Sent again while nobody listens or the answer stays away, as the connection comes and goes.

    Raises `Unavailable` after `timeout_s`, `TooLarge` at once.
    """
    deadline, pause_s, reason = time.monotonic() + timeout_s, PAUSE_S[0], "no time was given"
    while (left_s := deadline - time.monotonic()) > 0:
        try:
            return _answer(await connection.request(subject, body, timeout=min(left_s, ATTEMPT_S)))
        except errors.MaxPayloadError as error:
            raise TooLarge(f"a request of {len(body)} bytes is above {connection.max_payload}") from error
        except (errors.Error, Unavailable, OSError) as error:
            reason = str(error)
        await asyncio.sleep(min(pause_s, max(0, deadline - time.monotonic())))
        pause_s = min(2 * pause_s, PAUSE_S[1])
    raise Unavailable(f"{subject} was not answered within {timeout_s:g} s: {reason}")


async def serve(
    connection: Connection, subject: str, handler: Handler, *, group: str, concurrency: int
) -> Service:
    """Answer requests beside every other server of the group, up to `concurrency` at once."""
    service = Service(handler, concurrency)
    service.subscription = await connection.listen(subject, service.take, queue=group)
    with suppress(errors.Error):  # while the server is away the subscription follows on its return
        await connection.flush(1)
    return service


class Service:
    """What `serve` started; ends with `drain`."""

    subscription: Subscription

    def __init__(self, handler: Handler, concurrency: int) -> None:
        self._handler = handler
        self._concurrency = concurrency
        self._running: set[asyncio.Task[None]] = set()
        self._waiting: deque[Msg] = deque()
        self._waiting_bytes = 0
        self._is_full = False

    def take(self, message: Msg) -> None:
        """Begin to answer, or have it wait until another one is answered."""
        size = len(message.data)
        if len(self._running) < self._concurrency:
            self._begin(message)
        elif len(self._waiting) < MAX_WAITING and self._waiting_bytes + size <= MAX_WAITING_BYTES:
            self._waiting.append(message)
            self._waiting_bytes += size
        elif not self._is_full:
            self._is_full = True
            log.warning("too many requests wait, and more are dropped", subject=message.subject)

    async def drain(self, timeout_s: float = 10) -> None:
        """Take nothing new, answer what was taken. After `timeout_s` the rest is given up: it comes again."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.subscription.drain()  # type: ignore[no-untyped-call]
        except (errors.Error, TimeoutError) as error:
            log.warning("requests were not drained", error=str(error))
        deadline = time.monotonic() + timeout_s
        while self._running and (left_s := deadline - time.monotonic()) > 0:
            await asyncio.wait(self._running, timeout=left_s)
        self._waiting.clear()
        for task in self._running:
            task.cancel()

    def _begin(self, message: Msg) -> None:
        task = asyncio.create_task(self._answer(message))
        self._running.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._waiting:
            message = self._waiting.popleft()
            self._waiting_bytes -= len(message.data)
            self._begin(message)
        else:
            self._is_full = False

    async def _answer(self, message: Msg) -> None:
        try:
            await self._reply(message, await self._handler(message.data))
        except errors.Error as error:
            log.warning("an answer was not sent", error=str(error))
        except Exception:
            log.exception("a request failed", subject=message.subject)
            await self._fail(message, "error")

    async def _reply(self, message: Msg, answer: bytes) -> None:
        try:
            await message._client.publish(message.reply, answer)
        except errors.MaxPayloadError:
            log.error("an answer is too large", subject=message.subject, size_bytes=len(answer))
            await self._fail(message, "too large")

    async def _fail(self, message: Msg, reason: str) -> None:
        try:
            await message._client.publish(message.reply, headers={FAILED: reason})
        except errors.Error as error:
            log.warning("an answer was not sent", error=str(error))


def _answer(message: Msg) -> bytes:
    reason = (message.headers or {}).get(FAILED)
    if reason == "too large":
        raise TooLarge("the answer is above the server's max_payload")
    if reason:
        raise Unavailable("the request failed where it was handled")
    return message.data
