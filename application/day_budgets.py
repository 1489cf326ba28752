"""The budget of a workflow and day: before a call is announced, the execution holds a share of it.

Called by the command channel with each report. Two streams can not be changed at once, so the share is held
first and the call recorded after it; `decide` refuses a call that the share does not cover. Its one rule:
whatever happens in between, more is held than is spent, never less. A child execution holds shares of its own
workflow's day, not of its parent's.
"""

from __future__ import annotations

import msgspec

from application.commands import CommandHandler, Context
from domain.amounts import NOTHING, Amounts
from domain.errors import OverBudget
from domain.execution import EXECUTION, Execution, ModelCallStarted, RecordProgress, ToolCallStarted
from domain.execution.budget import reserved_for
from domain.spending import HoldShare, SettleShare

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
        if state.request is None or state.per_day is None or state.request.workflow_id is None:
            return report
        upto = state.account.own.plus(wanted)
        hold = HoldShare(
            workflow_id=state.request.workflow_id,
            day=self._commands.today(),
            execution_id=report.execution_id,
            limits=state.per_day,
            base=state.account.spent,
            upto=upto,
            ahead=upto.plus(wanted.times(CALLS_AHEAD)),
        )
        try:
            await self._commands.handle(hold, context)
        except OverBudget as error:
            return msgspec.structs.replace(report, over_day=str(error))
        return msgspec.structs.replace(report, covered=upto)

    async def settle(self, execution_id: str, state: Execution, context: Context) -> None:
        """The execution has ended or waits: let go of what it does not need."""
        if state.request is None or state.per_day is None or state.request.workflow_id is None:
            return
        settled = SettleShare(
            workflow_id=state.request.workflow_id,
            day=self._commands.today(),
            execution_id=execution_id,
            upto=state.account.own,
        )
        await self._commands.handle(settled, context)


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
