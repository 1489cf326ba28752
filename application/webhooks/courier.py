"""The delivery of one webhook: in the order of each execution, each event again until it is taken.

Called by `deliverer`, one for each active subscription. Its one rule: within a lane (a stream of the log) an
event is sent only when the one before it was taken or given up; lanes do not wait for each other, and an
endpoint that is down holds back at most `MAX_LANES` of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
import structlog

from application.following import AllEvents
from application.live_events import Form, LiveEvents
from application.ports import Clock
from application.webhooks.lanes import Lane, Lanes
from application.webhooks.outcomes import GIVEN_UP, GONE, TAKEN, Answer, Patience
from application.webhooks.progress import Progress, ProgressMoved, ProgressStore
from application.webhooks.signing import Secrets, signed_headers
from domain.errors import Unavailable
from domain.event_filter import wanted_tags
from domain.message import Recorded, tag_of
from domain.registry import event_of
from domain.subscription import (
    AbandonDelivery,
    ConfirmReplay,
    DisableSubscription,
    ReplayRequested,
    Subscription,
    SubscriptionCommands,
    SubscriptionTested,
)

log = structlog.get_logger()

MAX_IN_FLIGHT = 8
"""Requests to one endpoint at a time."""

MAX_LANES = 200
MAX_WAITING = 2_000
"""Executions, and events, that may wait before no more are read."""

SAVE_S = 0.5
SAVE_PLACE_S = 10.0
"""How often the progress is saved: when something was delivered, and when only the place has moved."""

LAST_SAVE_S = 3.0
READ_S = 1.0

TESTED, REPLAY = tag_of(SubscriptionTested), tag_of(ReplayRequested)

Post = Callable[[str, dict[str, str], bytes], Awaitable[Answer]]
"""Sends (url, headers, body) once. Never raises for what an endpoint does."""

Report = Callable[[SubscriptionCommands], Awaitable[None]]
"""Sends a command, for as long as it takes."""


class Courier:
    """One subscription's delivery. `state` may be changed while it runs, except for its filter."""

    def __init__(
        self,
        subscription_id: str,
        state: Subscription,
        *,
        live: LiveEvents,
        store: ProgressStore,
        post: Post,
        report: Report,
        secrets: Secrets,
        form: Form,
        clock: Clock,
        patience: Patience,
        is_fresh: bool = False,
    ) -> None:
        """is_fresh: somebody has changed something; what failed before may be tried again at once."""
        self.state = state
        self._is_fresh = is_fresh
        self._id = subscription_id
        self._stream = f"subscription-{subscription_id}"
        self._live = live
        self._store = store
        self._post = post
        self._report = report
        self._secrets = secrets
        self._form = form
        self._clock = clock
        self._patience = patience
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._lanes = Lanes()
        self._tasks: asyncio.TaskGroup | None = None
        self._at = 0
        self._revision = 0
        self._saved: Progress | None = None
        self._last_taken = 0.0
        self._hold_until = 0.0

    async def run(self) -> None:
        """Until it is cancelled. Raises `ProgressMoved` when another process delivers."""
        await self._restore()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for key, lane in self._lanes:
                    tasks.create_task(self._work(key, lane))
                tasks.create_task(self._save_now_and_then())
                tasks.create_task(self._read())
        finally:
            with suppress(ProgressMoved, Unavailable, TimeoutError):
                async with asyncio.timeout(LAST_SAVE_S):
                    await self._save()

    # --- reading

    async def _read(self) -> None:
        allows = wanted_tags(self.state.wanted)

        def wants(tag: str) -> bool:
            return allows(tag) or tag in (TESTED, REPLAY)

        with self._live.watch(None, wants) as watch:
            follower = AllEvents(self._live, watch, self._at, wants)
            while True:
                await self._lanes.room(MAX_LANES, MAX_WAITING)
                for frame in await follower.next(READ_S):
                    await self._take(frame.recorded)
                self._at = follower.at

    async def _take(self, recorded: Recorded) -> None:
        if recorded.stream == self._stream and recorded.tag == REPLAY:
            event = event_of(recorded)
            assert isinstance(event, ReplayRequested)  # noqa: S101 - its tag was compared
            for position in event.positions:
                self._enqueue(f"replay-{position}", (await self._live.log.read_all(position - 1, 1))[0])
        elif await self._wants(recorded):
            self._enqueue(recorded.stream, recorded)

    async def _wants(self, recorded: Recorded) -> bool:
        """Of its own stream only the test: what it tells of deliveries would be told for ever."""
        if recorded.category == "subscription" and (
            recorded.stream == self._stream or recorded.tag in (TESTED, REPLAY)
        ):
            return recorded.stream == self._stream and recorded.tag == TESTED
        workflow_id = self.state.wanted.workflow_id
        return workflow_id is None or await self._live.workflows.of(recorded) == workflow_id

    def _enqueue(self, key: str, recorded: Recorded) -> None:
        if (lane := self._lanes.add(key, recorded)) is not None:
            assert self._tasks is not None  # noqa: S101 - set before anything is read
            self._tasks.create_task(self._work(key, lane))

    # --- sending

    async def _work(self, key: str, lane: Lane) -> None:
        while lane.waiting:
            await self._until(lane)
            async with self._slots:
                answer = await self._send(lane.waiting[0])
            await self._settle(key, lane, answer)
        self._lanes.remove(key)

    async def _until(self, lane: Lane) -> None:
        while True:
            wait_s = max(lane.next_at, self._hold_until) - self._now()
            if wait_s <= 0:
                return
            await asyncio.sleep(wait_s)

    async def _send(self, recorded: Recorded) -> Answer:
        body = self._form(recorded)
        headers = signed_headers(recorded.metadata.event_id, int(self._now()), body, self._signing_secrets())
        return await self._post(self.state.url, headers, body)

    def _signing_secrets(self) -> list[bytes]:
        numbers = [self.state.secret]
        if self.state.previous_until is not None and self._clock.now() < self.state.previous_until:
            numbers.append(self.state.secret - 1)
        return [self._secrets.raw(self._id, number) for number in numbers]

    async def _settle(self, key: str, lane: Lane, answer: Answer) -> None:
        now = self._now()
        if answer.retry_after_s:
            self._hold_until = now + answer.retry_after_s
        verdict = self._patience.verdict(answer, lane, now)
        if verdict is TAKEN:
            self._last_taken = now
            await self._confirm(key)
            lane.taken()
        elif verdict is GONE:
            await self._disable("the endpoint answered 410 Gone")
        elif verdict is GIVEN_UP and self._last_taken < lane.since:
            await self._disable(f"the endpoint took nothing for a day: {answer.said}")
        elif verdict is GIVEN_UP:
            await self._report(
                AbandonDelivery(
                    subscription_id=self._id,
                    position=lane.waiting[0].position,
                    attempts=lane.attempts,
                    reason=answer.said,
                )
            )
            lane.taken()

    async def _confirm(self, key: str) -> None:
        if key.startswith("replay-"):
            position = int(key.removeprefix("replay-"))
            await self._report(ConfirmReplay(subscription_id=self._id, position=position))

    async def _disable(self, reason: str) -> None:
        """Nothing more is sent; whoever resumes it begins with fresh patience, where it stopped."""
        log.warning("webhook disabled", subscription=self._id, reason=reason)
        self._lanes.forget_failures()
        await self._report(DisableSubscription(subscription_id=self._id, reason=reason))
        await asyncio.Event().wait()

    # --- progress

    async def _restore(self) -> None:
        body, self._revision = await self._store.load(self._id)
        progress = msgspec.json.decode(body, type=Progress) if body else None
        if progress is None or progress.since != self.state.since:
            progress = Progress(since=self.state.since, at=self.state.after)
        self._at, self._last_taken = progress.at, progress.last_taken
        for key, lane in progress.lanes.items():
            events = await self._lane_events(key, lane.version, lane.position)
            self._lanes.restore(key, lane, [each for each in events if each.position <= progress.at])
        if self._is_fresh:
            self._is_fresh = False
            self._lanes.forget_failures()

    async def _lane_events(self, key: str, version: int, position: int) -> list[Recorded]:
        if key.startswith("replay-"):
            return list(await self._live.log.read_all(position - 1, 1))
        allows = wanted_tags(self.state.wanted)
        events = await self._live.log.read_stream(key, version - 1)
        return [
            each for each in events if (allows(each.tag) or each.tag == TESTED) and await self._wants(each)
        ]

    async def _save_now_and_then(self) -> None:
        rest_s = SAVE_PLACE_S
        while True:
            await asyncio.sleep(SAVE_S)
            rest_s -= SAVE_S
            if self._lanes.has_changed or rest_s <= 0:
                rest_s = SAVE_PLACE_S
                with suppress(Unavailable):
                    await self._save()

    async def _save(self) -> None:
        progress = Progress(self.state.since, self._at, self._lanes.progress(), self._last_taken)
        self._lanes.has_changed = False
        if progress != self._saved:
            body = msgspec.json.encode(progress)
            self._revision = await self._store.save(self._id, body, self._revision)
            self._saved = progress

    def _now(self) -> float:
        return self._clock.now().timestamp()
