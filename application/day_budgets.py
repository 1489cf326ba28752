"""The budget of a workflow and day: before a call is announced, the execution holds a share of it.

Called by the command channel with each claim and report, and by the dispatcher when an execution has ended.
Two streams can not be changed at once, so the share is held first and the call recorded after it; `decide`
refuses a call that the share does not cover. Its one rule: whatever happens in between, more is held than is
spent, never less. A child execution holds a share of its own workflow's day, and of each workflow's above it.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from application.commands import CommandHandler, Context, Preparation, Reads
from application.running_time import RunningTimes
from domain.amounts import NOTHING, Amounts, least
from domain.errors import OverBudget, Rejected
from domain.execution import (
    EXECUTION,
    Execution,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    RecordProgress,
    Status,
    ToolCallStarted,
)
from domain.execution.budget import Account, booked, reserved_for
from domain.limits import DayBudget
from domain.spending import SPENDING, HoldShare, Ran, SettleShare

MOST_ASKED = 100
"""Of the executions that hold a share, how many are asked whether they need it, before one is refused."""

CALLS_AHEAD = 4
"""How many more of the same calls a share is held for at once, where there is room."""

AT_REST = (Status.WAITING, Status.PAUSED)


class Day(NamedTuple):
    """A workflow of whose day an execution holds a share. pinned_by: the execution whose limits they are."""

    workflow_id: str
    limits: DayBudget
    pinned_by: str


class Wanted(NamedTuple):
    """What an execution is to hold; see `HoldShare`."""

    execution_id: str
    base: Amounts
    upto: Amounts
    ahead: Amounts


class DayBudgets:
    """One for a process that answers runners."""

    def __init__(self, commands: CommandHandler) -> None:
        self._commands = commands
        self._times = RunningTimes(commands)

    async def begun(self, execution_id: str, state: Execution, context: Context) -> None:
        """A runner has one of its steps: it is running from now on, where a limit of a day asks for that."""
        wanted = Wanted(execution_id, state.account.spent, state.account.own, state.account.own)
        for day in await self._days(execution_id, state):
            if day.limits.max_running_s is not None:
                await self._hold(day, wanted, context, limits=DayBudget())

    async def covered(self, report: RecordProgress, context: Context) -> RecordProgress:
        """The report, with what the execution's shares of the day cover, where a limit of a day holds."""
        amounts = wanted_by(report)
        if amounts == NOTHING:
            return report
        state = await self._commands.known_state(EXECUTION, report.execution_id)
        if not state.is_open or state.day_bounds is None:
            return report
        upto = answered(state.account, report).own.plus(amounts)
        ahead = upto.plus(amounts.times(CALLS_AHEAD))
        wanted = Wanted(report.execution_id, state.account.spent, upto, ahead)
        for day in await self._days(report.execution_id, state):
            if why := await self._over(day, wanted, context):
                if day.pinned_by != report.execution_id:
                    why += f" (of workflow {day.workflow_id!r}, execution {day.pinned_by!r})"
                return msgspec.structs.replace(report, over_day=why)
        return msgspec.structs.replace(report, covered=upto)

    async def _days(self, execution_id: str, state: Execution) -> list[Day]:
        """Its own workflow's, and those of the workflows above it; each once, by the lowest of its limits."""
        days: dict[str, Day] = {}
        pinned_by, request = execution_id, state.request
        is_bounded = state.day_bounds is not None
        while is_bounded and request is not None:
            if (limits := state.per_day) is not None and (workflow_id := request.workflow_id) is not None:
                known = days.get(workflow_id, Day(workflow_id, limits, pinned_by))
                days[workflow_id] = known._replace(limits=least(known.limits, limits))
            parent = request.parent
            if parent is None or parent.per_day is None:
                break
            pinned_by = parent.execution_id
            state = await self._commands.state_of(EXECUTION, pinned_by)
            request = state.request
        return list(days.values())

    async def _over(self, day: Day, wanted: Wanted, context: Context) -> str:
        """Why the share can not be held; "" when it is."""
        why = ""
        for is_second in (False, True):
            if is_second and not await self._freed(day, wanted, context):
                break
            try:
                await self._hold(day, wanted, context, limits=day.limits)
            except OverBudget as error:
                why = str(error)
            else:
                return ""
        return why

    async def _hold(self, day: Day, wanted: Wanted, context: Context, *, limits: DayBudget) -> None:
        """Raises `OverBudget`."""
        at = self._commands.now()
        hold = HoldShare(
            workflow_id=day.workflow_id,
            day=day_of(at),
            execution_id=wanted.execution_id,
            limits=limits,
            base=wanted.base,
            upto=wanted.upto,
            ahead=wanted.ahead,
            at=at,
            ran=await self._ran(day, wanted.execution_id, at),
        )
        await self._commands.handle(hold, context)

    async def _ran(self, day: Day, execution_id: str, at: datetime) -> Ran:
        return Ran() if day.limits.max_running_s is None else await self._times.of(execution_id, at)

    async def _freed(self, day: Day, wanted: Wanted, context: Context) -> bool:
        """Whether others have ended, or wait, that held more than they spent: whoever was to settle died."""
        entity_id = f"{day.workflow_id}_{day_of(self._commands.now())}"
        shares = (await self._commands.state_of(SPENDING, entity_id)).shares
        asked = [each for each in shares if each != wanted.execution_id][:MOST_ASKED]
        return any([await self.settle_at_rest(each, context) for each in asked])

    async def settle_at_rest(self, execution_id: str, context: Context) -> bool:
        """Let go of what an execution does not need that has ended, waits or is paused; whether it does."""
        known = await self._commands.known_state(EXECUTION, execution_id)
        if known.request is not None and known.day_bounds is None:
            return False
        state = await self._commands.state_of(EXECUTION, execution_id)
        return is_at_rest(state) and await self.settle(execution_id, state, context)

    async def settle(self, execution_id: str, state: Execution, context: Context) -> bool:
        """The execution has ended, waits or is paused. False when it goes on already."""
        try:
            for day in await self._days(execution_id, state):
                await self._commands.handle(self._settled(day, execution_id), context)
        except Rejected:
            return False
        return True

    def _settled(self, day: Day, execution_id: str) -> Preparation:
        async def prepare(reads: Reads) -> SettleShare:
            """What is let go of is what the execution does not need as the log has it then."""
            state, at = await reads.of(EXECUTION, execution_id), self._commands.now()
            if not is_at_rest(state):
                raise Rejected("SettleShare is not allowed: the execution goes on")
            ran = await self._ran(day, execution_id, at)
            return SettleShare(
                workflow_id=day.workflow_id,
                day=day_of(at),
                execution_id=execution_id,
                upto=state.account.own,
                ran=ran,
            )

        return prepare


def is_at_rest(state: Execution) -> bool:
    return not state.is_open or state.status in AT_REST


def day_of(at: datetime) -> str:
    """In UTC, as 2026-11-24."""
    return at.date().isoformat()


def answered(account: Account, report: RecordProgress) -> Account:
    """The account after the answers that a report brings, which are booked before what it would begin."""
    for entry in report.entries:
        if isinstance(entry, ModelCallCompleted | ModelCallFailed):
            account = booked(account, entry)
    return account


def wanted_by(report: RecordProgress) -> Amounts:
    """What the calls that a report would begin can come to."""
    wanted = NOTHING
    for entry in report.entries:
        match entry:
            case ModelCallStarted():
                wanted = wanted.plus(reserved_for(entry.estimate)).plus(Amounts(model_calls=1))
            case ToolCallStarted():
                wanted = wanted.plus(Amounts(tool_calls=1))
    return wanted
