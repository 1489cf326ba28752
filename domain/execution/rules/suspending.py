"""Steps that wait without a process: what demands it, and how they go on.

To add a reason: a function in `DEMANDS` where the runner's report shows it (a call that would break a
budget), or a `StepSuspended` of its own rule (an approval). To end a wait: the event of its command, followed
by `again(...)`.
"""

from __future__ import annotations

from collections.abc import Callable

from domain.execution.commands import RecordProgress
from domain.execution.events import StepScheduled, StepSuspended
from domain.execution.rules.budgets import budget_wait
from domain.execution.state import Execution
from domain.execution.values import Wait


def reported_wait(state: Execution, command: RecordProgress) -> Wait | None:
    """The runner itself says that the step waits."""
    return next((entry.wait for entry in command.entries if isinstance(entry, StepSuspended)), None)


DEMANDS: tuple[Callable[[Execution, RecordProgress], Wait | None], ...] = (reported_wait, budget_wait)
"""Asked in this order before a report is recorded; the first wait suspends the step."""


def demanded_wait(state: Execution, command: RecordProgress) -> Wait | None:
    """Why the step waits from this report on, if it does; what the report would begin is then refused."""
    return next((wait for demand in DEMANDS if (wait := demand(state, command)) is not None), None)


def again(state: Execution, step: str, reason: str, *, delay_s: float = 0) -> StepScheduled:
    """The step goes on: a runner begins it again, and the journal answers what is known.

    Right in every status of an open execution: while it is paused nothing begins before it is resumed.
    """
    return StepScheduled(step=step, turn=state.steps[step].turn + 1, reason=reason, delay_s=delay_s)
