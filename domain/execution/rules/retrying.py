"""Failures that are not the end: a step that begins again by itself, an execution that somebody retries.

What is recorded is not done again: the journal answers it. The call that failed is made again.
"""

from __future__ import annotations

from msgspec.structs import replace

from domain.errors import NotFound, Rejected
from domain.execution.commands import RetryExecution
from domain.execution.events import (
    ExecutionEvents,
    ExecutionFailed,
    ExecutionRetried,
    StepFailed,
    StepScheduled,
)
from domain.execution.rules.mapping import is_left_out
from domain.execution.rules.order import after_end
from domain.execution.rules.placing import go_on
from domain.execution.rules.suspending import again
from domain.execution.state import Execution, Status, StepStatus, evolve

RETRIED = (Status.FAILED, Status.TIMED_OUT)


def fail_step(state: Execution, failed: StepFailed) -> tuple[ExecutionEvents, ...]:
    """The failure, and the step's next attempt where the document asks for one."""
    failed = replace(failed, is_left_out=False)
    code, policy = failed.failure.code, state.definition.retry
    after = evolve(state, failed)
    failures = after.steps[failed.step].failures
    delay_s = policy.delay_s(failures) if code in policy.on else None
    if delay_s is None:
        return given_up(state, failed)
    reason = f"failure {failures} of at most {policy.max_attempts}: {code}"
    return (failed, again(after, failed.step, reason, delay_s=delay_s))


def given_up(state: Execution, failed: StepFailed) -> tuple[ExecutionEvents, ...]:
    """The failure, and the execution's end; or what follows where a map goes on without the item."""
    if not is_left_out(state, failed.step):
        return (failed, ExecutionFailed(failure=failed.failure, step=failed.step))
    failed = replace(failed, is_left_out=True)
    return (failed, *after_end(evolve(state, failed), failed.step))


def retry(state: Execution, command: RetryExecution) -> tuple[ExecutionEvents, ...]:
    """From where it failed: completed steps stay, the others begin again."""
    if state.status is None:
        raise NotFound(f"there is no execution {command.execution_id!r}")
    if command.run is not None and state.retries >= command.run:
        return ()
    if state.status not in RETRIED:
        raise Rejected(
            f"RetryExecution is not allowed while {state.status.lower()}; expected failed or timed_out"
        )
    if any(step.status is StepStatus.REJECTED and not step.route for step in state.steps.values()):
        raise Rejected("RetryExecution is not allowed: it failed because a person refused")
    retried = ExecutionRetried(timeout_s=state.definition.limits.timeout_s)
    following = go_on(evolve(state, retried))
    return (retried, *(as_before(state, event) for event in following))


def as_before(state: Execution, event: ExecutionEvents) -> ExecutionEvents:
    """A step that is scheduled again sees what it saw, so that its calls stay the same."""
    if isinstance(event, StepScheduled) and event.step in state.steps:
        return replace(event, reason="retried", without=state.steps[event.step].without)
    return event
