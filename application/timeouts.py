"""Executions that take too long: `limits.timeout_s`, counted while they are pending or running.

Called by `Alarms`. Its one rule: whether the time is over is computed from the execution's own events each
time its timer rings, and decided by the execution; what it spent waiting or paused does not count.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from application.commands import CommandHandler, Context
from application.ports import Clock, EventLog
from application.timers import Timer, Timers
from domain.execution import (
    EXECUTION,
    Execution,
    ExecutionEvents,
    ExecutionRequested,
    ExecutionResumed,
    ExecutionRetried,
    Status,
    StepScheduled,
    TimeOutExecution,
    evolve,
)
from domain.message import Recorded, tag_of
from domain.registry import event_of

LOOK_AGAIN_S = 60.0
"""How often an execution is looked at that waits or is paused; one that goes on is looked at when it does."""


class LimitedExecution(msgspec.Struct, frozen=True):
    """An open execution with a limit of its time."""

    tenant: str
    execution_id: str


class Timeouts:
    """`TimerKind` of executions that have a `limits.timeout_s`."""

    name = "timeout"
    tags: tuple[str, ...] = tuple(
        tag_of(event) for event in (ExecutionRequested, ExecutionResumed, ExecutionRetried, StepScheduled)
    )

    def __init__(
        self,
        timers: Timers,
        log: EventLog,
        commands: CommandHandler,
        clock: Clock,
        limited_executions: Callable[[], Awaitable[Sequence[LimitedExecution]]],
    ) -> None:
        self._timers = timers
        self._log = log
        self._commands = commands
        self._clock = clock
        self._limited_executions = limited_executions

    async def heard(self, recorded: Recorded) -> None:
        execution = LimitedExecution(recorded.metadata.tenant, recorded.entity_id)
        match event_of(recorded):
            case ExecutionRequested(definition=definition):
                if (limit_s := definition.limits.timeout_s) is not None:
                    await self._set(execution, recorded.metadata.at + timedelta(seconds=limit_s))
            case StepScheduled(turn=1):
                return
            case _:
                await self._look(execution)

    async def rings(self, timer: Timer) -> None:
        await self._look(LimitedExecution(timer.tenant, timer.key))

    async def recover(self) -> None:
        for execution in await self._limited_executions():
            await self._look(execution)

    async def _look(self, execution: LimitedExecution) -> None:
        known = await self._commands.known_state(EXECUTION, execution.execution_id)
        if known.request is not None and known.definition.limits.timeout_s is None:
            return  # a limit never changes: without one, nothing has to be counted
        events = await self._log.read_stream(f"execution-{execution.execution_id}")
        now = self._clock.now()
        state, spent_s = time_spent(events, now)
        if not state.is_open or (limit_s := state.definition.limits.timeout_s) is None:
            return
        if counts(state) and spent_s >= limit_s:
            command = TimeOutExecution(execution_id=execution.execution_id, spent_s=spent_s)
            await self._commands.handle(command, Context(actor="system:timer", tenant=execution.tenant))
            return
        left_s = limit_s - spent_s
        wait_s = left_s if counts(state) else max(left_s, LOOK_AGAIN_S)
        await self._set(execution, now + timedelta(seconds=wait_s))

    async def _set(self, execution: LimitedExecution, due: datetime) -> None:
        timer = Timer(kind=self.name, key=execution.execution_id, due=due, tenant=execution.tenant)
        await self._timers.set(timer)


def counts(state: Execution) -> bool:
    return state.status in (Status.PENDING, Status.RUNNING)


def time_spent(events: Iterable[Recorded], now: datetime) -> tuple[Execution, float]:
    """The execution now, and the seconds that it was pending or running since it began or was retried."""
    state, spent_s, since = Execution(), 0.0, now
    for recorded in events:
        at = recorded.metadata.at
        if counts(state):
            spent_s += max(0.0, (at - since).total_seconds())
        since = at
        event = event_of(recorded)
        assert isinstance(event, ExecutionEvents)  # noqa: S101 - all of one stream
        if isinstance(event, ExecutionRetried):
            spent_s = 0.0
        state = evolve(state, event)
    return state, spent_s + (max(0.0, (now - since).total_seconds()) if counts(state) else 0.0)
