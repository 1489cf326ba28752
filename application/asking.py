"""What a runner asks over the command channel for one piece of work, sent until it is answered.

Called by `application.runs` and `application.reporting`. Its one rule: every request may be sent again, so it
is, until there is an answer.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

import msgspec
import structlog

from application.channel_messages import Asked, ReadContent, Reply, Request
from application.contents import Part, digest_of, parts_in
from application.ports import Assignment, Handler, Stopped, Work
from domain.errors import KasalError, NotFound, TooLarge
from domain.execution import RecordProgress, StartStep

log = structlog.get_logger()

DRAIN_WITHIN_S = 120.0
"""How long calls in flight may take to end after their attempt was told to let go."""

HELD_AT_MOST_S = DRAIN_WITHIN_S + 10
"""How long a claim waits for the attempt before it; after that the runner of that one is taken for dead."""

HELD_PAUSE_S = 0.25


class Claimed(NamedTuple):
    """What came with a claim.

    has_more  outputs are to be asked for
    past      the journal, if it came along
    claim     that has to go with the first report
    """

    assignment: Assignment
    has_more: bool
    past: Reply | None
    claim: StartStep | None


class Channel:
    """Requests of one runner for one piece of work, sent until they are answered."""

    def __init__(self, ask: Handler, runner: str, work: Work) -> None:
        self._ask = ask
        self._runner = runner
        self._work = work

    async def send(
        self,
        command: StartStep | RecordProgress | Asked,
        contents: tuple[Part, ...] = (),
        *,
        claims_later: bool = False,
    ) -> Reply:
        """The answer, however long the other side is away: every command may be sent again.

        Raises `Stopped` when the command is refused, and `TooLarge` for what fits no message.
        """
        request = Request(
            runner=self._runner,
            command=command,
            contents=contents,
            claims_later=claims_later,
            tenant=self._work.tenant,
            correlation_id=self._work.correlation_id,
            causation_id=self._work.causation_id,
            traceparent=self._work.traceparent,
        )
        body, pause_s = msgspec.json.encode(request), 0.05
        while True:
            try:
                reply = msgspec.json.decode(await self._ask(body), type=Reply)
            except TooLarge:
                raise  # it would be so the next time, too
            except (KasalError, OSError, TimeoutError) as error:
                log.warning("command channel is away", error=str(error), execution=self._work.execution_id)
                reply = Reply(retry_after_s=pause_s)
            if reply.refused:
                raise Stopped(reply.refused, is_over=reply.is_over, is_draining=reply.is_draining)
            if not reply.retry_after_s:
                return reply
            await asyncio.sleep(max(pause_s, reply.retry_after_s))
            pause_s = min(2 * pause_s, 2.0)

    async def claim(self, claim: StartStep, offer: bytes | None = None) -> Claimed:
        """Granted once the attempt before has let go of the step. Raises `Stopped`.

        offer: the answer, where it came before the question.
        """
        if offer is not None:
            reply = msgspec.json.decode(offer, type=Reply)
            if reply.assignment is not None:
                return Claimed(reply.assignment, has_more=False, past=None, claim=claim)
        deadline = time.monotonic() + HELD_AT_MOST_S
        while (reply := await self.send(claim, claims_later=True)).is_held:
            await asyncio.sleep(HELD_PAUSE_S)
            claim = msgspec.structs.replace(claim, insists=time.monotonic() > deadline)
        if reply.assignment is None:
            raise Stopped("the claim was answered without an assignment")
        unclaimed = claim if reply.is_unclaimed else None
        return Claimed(reply.assignment, reply.has_more, reply.past, unclaimed)

    async def text(self, digest: str) -> str:
        """A stored text, read part by part. Raises `NotFound` when it is not there as its digest says."""
        whole, number, parts = bytearray(), 0, 1
        while number < parts:
            asked = ReadContent(execution_id=self._work.execution_id, digest=digest, number=number)
            part = (await self.send(asked)).part
            if part is None:
                raise NotFound(f"there is no content {digest!r}")
            whole += part.body
            number, parts = number + 1, parts_in(part.total_bytes)
        if digest_of(whole) != digest:
            raise NotFound(f"content {digest!r} is not what its digest says")
        return whole.decode()
