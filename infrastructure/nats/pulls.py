"""Pulls from several lanes (a priority of a queue each) for several takers over one inbox.

Called by `work`. Its one rule: a message that no taker waits for any more goes back to the server in a
moment, so that a lease never runs on work that nobody has.

A lane at which a pull waits is empty: the server would have answered it. So a taker asks one lane after the
other only where no pull waits, and a busy queue costs one request for each piece of work, whatever the number
of lanes above it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import msgspec
import structlog
from nats import errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from domain.errors import Unavailable
from infrastructure.nats.connection import Connection
from infrastructure.nats.jetstream import NANOSECONDS, Missing, post, status_of
from infrastructure.nats.precedence import Lane, lanes
from infrastructure.nats.subjects import WORK

log = structlog.get_logger()

PULL_S = 5.0
ANSWER_S = 1.0
"""How much later than its end a pull may be answered before it is taken for lost."""

RETRY_S = 0.25

RETURNED_AFTER_S = 0.005


class Pull:
    """A request for one message of one lane that the server holds until `ends_at`."""

    def __init__(self, lane: Lane, lasts_s: float, epoch: int) -> None:
        self.lane = lane
        self.epoch = epoch
        self.ends_at = time.monotonic() + lasts_s + ANSWER_S
        self.is_answered = asyncio.Event()


class Taker:
    """Somebody who waits for one message from any of some lanes, the first preferred."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.lanes = tuple(lanes)
        self.consumers = frozenset(lane.consumer for lane in lanes)
        self.message: Msg | None = None
        self.bell = asyncio.Event()


class Pulls:
    """What was asked of the server, and for whom."""

    def __init__(self, connection: Connection, prepare: Callable[[Lane], Awaitable[None]]) -> None:
        """prepare: makes the stream and a lane's consumer where they are missing."""
        self._connection = connection
        self._prepare = prepare
        self._prepared: set[Lane] = set()
        self._epoch = connection.epoch
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._numbers = itertools.count()
        self._turns = itertools.count()
        self._pulls: dict[str, Pull] = {}
        self._takers: list[Taker] = []
        self._returning: set[asyncio.Task[None]] = set()

    async def take(self, queues: Sequence[str], timeout_s: float) -> Msg | None:
        """One message, or None after `timeout_s`; NATS may be away and come back meanwhile."""
        taker = Taker(lanes(queues, next(self._turns)))
        self._takers.append(taker)
        try:
            await self._serve(taker, time.monotonic() + timeout_s)
        except BaseException:
            self._takers.remove(taker)
            if taker.message is not None and not self._is_wanted(taker.message):
                await taker.message.nak()
            raise
        self._takers.remove(taker)
        return taker.message

    async def _serve(self, taker: Taker, deadline: float) -> None:
        has_looked = False
        while taker.message is None and (left_s := deadline - time.monotonic()) > 0:
            taker.bell.clear()
            try:
                if not self._connection.is_connected:
                    raise Unavailable("NATS is away")
                await self._subscribe()
                if not has_looked:
                    await self._look(taker)
                    has_looked = True
                await self._ask(taker, left_s)
            except (Missing, Unavailable, errors.Error) as error:
                log.debug("work can not be asked for now", error=str(error))
                await asyncio.sleep(min(RETRY_S, left_s))
            else:
                await _rings(taker.bell, min(left_s, ANSWER_S))

    async def _look(self, taker: Taker) -> None:
        """One lane after the other, what is there already: so nothing is delivered that is not wanted.

        The last of them is only waited at (`_ask`): with a pull at each other lane, nothing can be preferred.
        """
        for lane in [lane for lane in taker.lanes if not self._open(lane)][:-1]:
            if self._open(lane):
                continue
            pull = await self._pull(lane, {"batch": 1, "no_wait": True}, 0)
            await _rings(pull.is_answered, ANSWER_S)
            if taker.message is not None:
                return
            await self._wait_at(lane, PULL_S)

    async def _ask(self, taker: Taker, left_s: float) -> None:
        """Have a pull at the server for every taker of these lanes."""
        for lane in taker.lanes:
            waiting = sum(lane in other.lanes and other.message is None for other in self._takers)
            if taker.message is None and len(self._open(lane)) < waiting:
                await self._wait_at(lane, min(left_s, PULL_S))

    async def _wait_at(self, lane: Lane, lasts_s: float) -> None:
        await self._pull(lane, {"batch": 1, "expires": int(lasts_s * NANOSECONDS)}, lasts_s)

    def _open(self, lane: Lane) -> list[str]:
        """Keys of the lane's pulls that the server has, oldest first; forgets those that it has lost."""
        now, epoch = time.monotonic(), self._connection.epoch
        lost = [key for key, pull in self._pulls.items() if pull.ends_at < now or pull.epoch != epoch]
        for key in lost:
            del self._pulls[key]
        return [key for key, pull in self._pulls.items() if pull.lane == lane]

    async def _pull(self, lane: Lane, request: dict[str, object], lasts_s: float) -> Pull:
        await self._prepare_once(lane)
        key, pull = str(next(self._numbers)), Pull(lane, lasts_s, self._connection.epoch)
        self._pulls[key] = pull
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{WORK}.{lane.consumer}"
        await post(self._connection, subject, msgspec.json.encode(request), reply=f"{self._inbox}.{key}")
        return pull

    async def _prepare_once(self, lane: Lane) -> None:
        if self._epoch != self._connection.epoch:
            self._epoch = self._connection.epoch
            self._prepared.clear()
        if lane not in self._prepared:
            await self._prepare(lane)
            self._prepared.add(lane)

    async def _subscribe(self) -> None:
        if self._subscription is None:
            self._inbox = self._connection.new_inbox()
            self._subscription = await self._connection.listen(f"{self._inbox}.*", self._heard)

    def _heard(self, message: Msg) -> None:
        if status := status_of(message):
            self._on_status(message.subject.rpartition(".")[2], status, message)
        else:
            self._answered(message.metadata.consumer)
            if not self._is_wanted(message):
                returning = asyncio.create_task(self._return(message))
                self._returning.add(returning)
                returning.add_done_callback(self._returning.discard)

    def _on_status(self, key: str, status: str, message: Msg) -> None:
        """The pull has ended without a message."""
        pull = self._pulls.pop(key, None)
        if pull is None:
            return
        pull.is_answered.set()
        if status == "503" or "Deleted" in (message.headers or {}).get("Description", ""):
            self._prepared.discard(pull.lane)
        for taker in self._takers:
            if pull.lane in taker.lanes:
                taker.bell.set()

    def _answered(self, consumer: str) -> None:
        """A pull of this consumer has its message: the server answers the oldest first."""
        for key, pull in list(self._pulls.items()):
            if pull.lane.consumer == consumer:
                del self._pulls[key]
                pull.is_answered.set()
                return

    def _is_wanted(self, message: Msg) -> bool:
        """By a taker, the first that waits for it, which has it then."""
        consumer = message.metadata.consumer
        for taker in self._takers:
            if taker.message is None and consumer in taker.consumers:
                taker.message = message
                taker.bell.set()
                return True
        return False

    async def _return(self, message: Msg) -> None:
        """To the server, unless a taker comes in the next moment: one that was just given something comes
        again. Sent, not confirmed: lost, it costs the lease."""
        await asyncio.sleep(RETURNED_AFTER_S)
        if not self._is_wanted(message):
            with suppress(errors.Error, OSError):
                await message.nak()


async def _rings(bell: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await bell.wait()
    except TimeoutError:
        return False
    return True
