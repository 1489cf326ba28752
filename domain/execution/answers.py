"""What people answer to a step that waits for them: how a call came out, whether an output will do."""

from __future__ import annotations

from typing import Literal

from domain.execution.values import Content
from domain.message import Event


class CallSettled(Event, frozen=True, tag="execution.call_settled"):
    """A call of unknown outcome: whoever looked into it says what became of it.

    outcome  happened: with this result, which the journal answers from now on; did_not_happen: it is sent
             again; failed: the execution fails, with this message
    """

    step: str
    call: str
    outcome: Literal["happened", "did_not_happen", "failed"]
    result: Content | None = None
    message: str = ""


class TaskReviewed(Event, frozen=True, tag="execution.task_reviewed"):
    """A person has seen a task's output. review: which time; not approved: the agent tries again, told
    why."""

    step: str
    task: str
    review: str
    is_approved: bool
    feedback: str = ""
