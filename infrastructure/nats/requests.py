"""Requests and replies over NATS: how runners reach a process that has the log.

Called by `wiring`: `serve` beside the log, `request` in runners. Its one rule: every request may be sent
again, so whatever is unclear is tried again until the time is over.
"""

from __future__ import annotations

import asyncio
import time
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
MAX_WAITING = 4096
"""Requests that may wait in one server; those beyond are dropped and come again."""

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
    service.subscription = await connection.subscribe(
        subject, queue=group, cb=service.on_request, pending_msgs_limit=MAX_WAITING
    )
    with suppress(errors.Error):  # while the server is away the subscription follows on its return
        await connection.flush(1)
    return service


class Service:
    """What `serve` started; ends with `drain`."""

    subscription: Subscription

    def __init__(self, handler: Handler, concurrency: int) -> None:
        self._handler = handler
        self._slots = asyncio.Semaphore(concurrency)
        self._running: set[asyncio.Task[None]] = set()

    async def on_request(self, message: Msg) -> None:
        """Takes the next request as soon as there is a slot for it."""
        await self._slots.acquire()
        task = asyncio.create_task(self._answer(message))
        self._running.add(task)
        task.add_done_callback(self._finished)

    async def drain(self, timeout_s: float = 10) -> None:
        """Take nothing new, answer what was taken. After `timeout_s` the rest is given up: it comes again."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.subscription.drain()  # type: ignore[no-untyped-call]
        except (errors.Error, TimeoutError) as error:
            log.warning("requests were not drained", error=str(error))
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=timeout_s)
            for task in late:
                task.cancel()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()

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
