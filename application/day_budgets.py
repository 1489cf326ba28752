"""The budget of a workflow and day: before a call is announced, the execution holds a share of it.

Called by the command channel with each report, and by the dispatcher when an execution has ended. Two streams
can not be changed at once, so the share is held first and the call recorded after it; `decide` refuses a call
that the share does not cover. Its one rule: whatever happens in between, more is held than is spent, never
less. A child execution holds shares of its own workflow's day, not of its parent's.
"""

from __future__ import annotations

import msgspec

from application.commands import CommandHandler, Context
from domain.amounts import NOTHING, Amounts
from domain.errors import OverBudget
from domain.execution import (
    EXECUTION,
    Execution,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    RecordProgress,
    ToolCallStarted,
)
from domain.execution.budget import Account, booked, reserved_for
from domain.spending import SPENDING, HoldShare, SettleShare

MOST_ASKED = 100
"""Of the executions that hold a share, how many are asked whether they have ended, before one is refused."""

CALLS_AHEAD = 4
"""How many more of the same calls a share is held for at once, where there is room."""


class DayBudgets:
    """One for a process that answers runners."""

    def __init__(self, commands: CommandHandler) -> None:
        self._commands = commands

    async def covered(self, report: RecordProgress, context: Context) -> RecordProgress:
        """The report, with what the execution's share of the day covers, where a limit of the day holds."""
        wanted = wanted_by(report)
        if wanted == NOTHING:
            return report
        state = await self._commands.known_state(EXECUTION, report.execution_id)
        if not state.is_open or state.request is None or state.per_day is None:
            return report
        upto = answered(state.account, report).own.plus(wanted)
        hold = HoldShare(
            workflow_id=str(state.request.workflow_id),
            day=self._commands.today(),
            execution_id=report.execution_id,
            limits=state.per_day,
            base=state.account.spent,
            upto=upto,
            ahead=upto.plus(wanted.times(CALLS_AHEAD)),
        )
        if why := await self._over(hold, context):
            if await self._freed(hold, context):
                why = await self._over(hold, context)
            if why:
                return msgspec.structs.replace(report, over_day=why)
        return msgspec.structs.replace(report, covered=upto)

    async def _over(self, hold: HoldShare, context: Context) -> str:
        """Why the share can not be held; "" when it is."""
        try:
            await self._commands.handle(hold, context)
        except OverBudget as error:
            return str(error)
        return ""

    async def _freed(self, hold: HoldShare, context: Context) -> bool:
        """Whether others have ended that still held more than they spent: whoever was to settle that died."""
        day = f"{hold.workflow_id}_{hold.day}"
        shares = (await self._commands.state_of(SPENDING, day)).shares
        asked = [each for each in shares if each != hold.execution_id][:MOST_ASKED]
        freed = [await self.settle_ended(each, context) for each in asked]
        return any(freed)

    async def settle_ended(self, execution_id: str, context: Context) -> bool:
        """Let go of the share of an execution that has ended; whether it has."""
        if (await self._commands.known_state(EXECUTION, execution_id)).is_open:
            return False
        state = await self._commands.state_of(EXECUTION, execution_id)
        if state.is_open:
            return False
        await self.settle(execution_id, state, context)
        return True

    async def settle(self, execution_id: str, state: Execution, context: Context) -> None:
        """The execution has ended, waits or is paused: let go of what it does not need."""
        if state.request is None or state.per_day is None or state.request.workflow_id is None:
            return
        settled = SettleShare(
            workflow_id=state.request.workflow_id,
            day=self._commands.today(),
            execution_id=execution_id,
            upto=state.account.own,
        )
        await self._commands.handle(settled, context)


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
