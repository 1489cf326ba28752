"""Deliverer: keeps a courier for every active subscription that is this process's own.

Called by `kasal webhooks` and `kasal up`. Run as many as you like: they share the subscriptions, and what one
leaves behind when it is lost the others take over from its progress. Subscriptions are found in the read
tables, then followed in the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import structlog

from application.commands import CommandHandler, Context
from application.following import AllEvents
from application.live_events import Form, LiveEvents
from application.ports import Clock
from application.webhooks.courier import Courier, Post
from application.webhooks.outcomes import Patience
from application.webhooks.progress import ProgressMoved, ProgressStore
from application.webhooks.sharing import Share
from application.webhooks.signing import Secrets
from domain.errors import KasalError, NotFound
from domain.subscription import SUBSCRIPTION, Standing, Subscription, SubscriptionCommands

log = structlog.get_logger()

CHECK_S = 30.0
STOP_S = 5.0
PAUSE_S = (0.2, 5.0)
KIND = "subscription."

Known = Callable[[], Awaitable[tuple[int, Sequence[str]]]]
"""(a position, the ids of all subscriptions that the read tables have at it or later)."""

T = TypeVar("T")


class Deliverer:
    """One of any number; `run` never ends by itself."""

    def __init__(
        self,
        live: LiveEvents,
        commands: CommandHandler,
        store: ProgressStore,
        known: Known,
        post: Post,
        secrets: Secrets,
        form: Form,
        clock: Clock,
        *,
        share: Share,
        patience: Patience | None = None,
    ) -> None:
        self._live = live
        self._commands = commands
        self._store = store
        self._known = known
        self._post = post
        self._secrets = secrets
        self._form = form
        self._clock = clock
        self._share = share
        self._patience = patience or Patience()
        self._couriers: dict[str, tuple[Courier, asyncio.Task[None]]] = {}
        self._ids: dict[str, None] = {}
        self._changing = asyncio.Lock()

    async def run(self) -> None:
        while True:
            await self._share.join()
            log.info("delivering webhooks", processes=len(self._share.members))
            delivering = asyncio.create_task(self._deliver())
            keeping = asyncio.create_task(self._share.keep())
            try:
                await asyncio.wait({delivering, keeping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                delivering.cancel()
                keeping.cancel()
                await asyncio.wait({delivering, keeping})
                await self._stop_all()
                await self._share.leave()
            if not delivering.cancelled() and (error := delivering.exception()):
                raise error
            log.warning("other processes deliver these webhooks for now")

    async def _deliver(self) -> None:
        position, ids = await patiently(self._known)
        self._ids = dict.fromkeys(ids)
        with self._live.watch(None, is_ours) as watch:
            follower = AllEvents(self._live, watch, position, is_ours)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_balance())
                tasks.create_task(self._follow(follower))

    async def _follow(self, follower: AllEvents) -> None:
        while True:
            changed = [frame.recorded for frame in await follower.next(CHECK_S)]
            for subscription_id in dict.fromkeys(recorded.entity_id for recorded in changed):
                self._ids[subscription_id] = None
                async with self._changing:
                    await self._refresh(subscription_id, is_fresh=True)

    async def _keep_balance(self) -> None:
        """Couriers for what is this process's own, now and whenever others have come or gone."""
        while True:
            self._share.changed.clear()
            async with self._changing:
                given = [each for each in self._couriers if not self._share.has(each)]
                await asyncio.gather(*map(self._stop, given))
                for subscription_id in [each for each in self._ids if each not in self._couriers]:
                    await self._refresh(subscription_id, is_fresh=False)
            await self._share.changed.wait()

    async def _refresh(self, subscription_id: str, *, is_fresh: bool) -> None:
        """The courier as the subscription wants it now, if it is this process's own."""
        if not self._share.has(subscription_id):
            await self._stop(subscription_id)
            return

        async def read() -> Subscription:
            return await self._commands.state_of(SUBSCRIPTION, subscription_id)

        state = await patiently(read)
        courier, _ = self._couriers.get(subscription_id, (None, None))
        if courier is not None and may_go_on(courier.state, state):
            courier.state = state
            return
        await self._stop(subscription_id)
        if state.standing is Standing.ACTIVE:
            self._start(subscription_id, state, is_fresh=is_fresh)

    def _start(self, subscription_id: str, state: Subscription, *, is_fresh: bool) -> None:
        async def report(command: SubscriptionCommands) -> None:
            with suppress(NotFound):  # deleted meanwhile
                await patiently(lambda: self._commands.handle(command, Context(actor="system:webhooks")))

        courier = Courier(
            subscription_id,
            state,
            live=self._live,
            store=self._store,
            post=self._post,
            report=report,
            secrets=self._secrets,
            form=self._form,
            clock=self._clock,
            patience=self._patience,
            is_fresh=is_fresh,
        )
        self._couriers[subscription_id] = (courier, asyncio.create_task(self._keep(subscription_id, courier)))

    async def _keep(self, subscription_id: str, courier: Courier) -> None:
        """One that fails is begun again from its progress: no courier's fault stops another."""
        pause_s = PAUSE_S[0]
        while True:
            try:
                await courier.run()
            except* ProgressMoved:
                log.warning("another process delivers", subscription=subscription_id)
            except* KasalError as errors:
                log.warning("courier waits", subscription=subscription_id, error=str(errors.exceptions[0]))
            except* Exception:
                log.exception("courier failed", subscription=subscription_id)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S[1])

    async def _stop(self, subscription_id: str) -> None:
        _, task = self._couriers.pop(subscription_id, (None, None))
        while task is not None and not task.done():  # a driver may swallow a cancellation
            task.cancel()
            await asyncio.wait([task], timeout=STOP_S)

    async def _stop_all(self) -> None:
        await asyncio.gather(*map(self._stop, list(self._couriers)))


def is_ours(tag: str) -> bool:
    return tag.startswith(KIND)


def may_go_on(before: Subscription, now: Subscription) -> bool:
    """Whether a courier that runs can take the change over: it can take over secrets, and nothing else."""
    kept = ("standing", "wanted", "since", "url")
    return all(getattr(before, name) == getattr(now, name) for name in kept)


async def patiently(action: Callable[[], Awaitable[T]]) -> T:
    """Again until it goes through; a refusal is told at once."""
    pause_s = PAUSE_S[0]
    while True:
        try:
            return await action()
        except (KasalError, OSError, TimeoutError) as error:
            if isinstance(error, NotFound):
                raise
            log.warning("the delivery of webhooks waits", error=str(error))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S[1])
