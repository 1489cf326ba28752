"""What can be wished of an execution, and by whom."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from domain.amounts import NOTHING, Amounts
from domain.catalog import Model
from domain.definition import Definition, Json
from domain.execution.archiving import MAX_FILES, ArchivedFile
from domain.execution.children import ChildStatus, Parent, PinnedChild
from domain.execution.events import Progress, TakenOver
from domain.execution.forks import ForkedFrom
from domain.execution.values import Content, Failure, TaskOutput
from domain.limits import Budget, DayBudget
from domain.message import Command


class ExecutionCommand(Command, frozen=True):
    execution_id: str

    @property
    def stream(self) -> str:
        return f"execution-{self.execution_id}"


class StepCommand(ExecutionCommand, frozen=True):
    """One step of it; the step was scheduled before."""

    step: str


class RequestExecution(ExecutionCommand, frozen=True, tag="RequestExecution"):
    """From the API: run this definition. Already checked: the definition, and the inputs against it.

    queue, priority          None: those of the definition
    forked_from, taken_over  of a fork: where it comes from, and what is done by then
    parent                   of a child
    children                 by `workflow` step: what it will run
    """

    name: str
    definition: Definition
    inputs: dict[str, Json]
    models: dict[str, Model]
    default_model: str | None = None
    workflow_id: str | None = None
    workflow_version: int | None = None
    queue: str | None = None
    priority: int | None = None
    forked_from: ForkedFrom | None = None
    taken_over: tuple[TakenOver, ...] = ()
    parent: Parent | None = None
    children: dict[str, PinnedChild] = {}


class StartStep(StepCommand, frozen=True, tag="StartStep"):
    """From a runner that was leased the step. delivery: 1.. within the turn; a later one outdates an
    earlier.

    insists  the attempt before was given its time to let go, and is not waited for any longer
    """

    turn: int
    delivery: int
    runner: str
    insists: bool = False


class AdmitExecution(ExecutionCommand, frozen=True, tag="AdmitExecution"):
    """From the dispatcher: the execution was granted a slot of its concurrency key."""


class RecordProgress(StepCommand, frozen=True, tag="RecordProgress"):
    """From the runner of an attempt: what happened since its last report, in order.

    after      how many entries of this attempt were reported before; makes a repeated report harmless
    covered    what the execution may come to within its share of the day, where a limit of the day holds
    over_day   why its share can not be enough for what the report would begin
    claim      of an attempt that nobody claimed before its first report
    """

    attempt: int
    after: int
    entries: Annotated[tuple[Progress, ...], msgspec.Meta(min_length=1)]
    covered: Amounts | None = None
    over_day: str = ""
    claim: StartStep | None = None


class RescheduleStep(StepCommand, frozen=True, tag="RescheduleStep"):
    """From the dispatcher: the queue may have forgotten the step's turn; a new turn outdates every lease
    of it.

    runner  only while this one has it: it is gone
    """

    turn: int
    reason: str
    runner: str = ""


class CancelExecution(ExecutionCommand, frozen=True, tag="CancelExecution"):
    """From a person or a system."""

    reason: Annotated[str, msgspec.Meta(max_length=2_000)] = ""


class PauseExecution(ExecutionCommand, frozen=True, tag="PauseExecution"):
    """From a person or a system: begin nothing new until it is resumed. by_parent: because its parent is."""

    reason: Annotated[str, msgspec.Meta(max_length=2_000)] = ""
    by_parent: bool = False


class ResumeExecution(ExecutionCommand, frozen=True, tag="ResumeExecution"):
    """From a person or a system: go on where it was paused.

    by_parent  what its parent has paused
    delays_s   by step, how long one that was put off is still to wait
    """

    by_parent: bool = False
    delays_s: dict[str, float] = {}


class RetryExecution(ExecutionCommand, frozen=True, tag="RetryExecution"):
    """From a person or a system: an execution that failed or timed out goes on from there.

    run  nothing when it has been retried so often already; None: in any case
    """

    run: int | None = None


class EraseExecution(ExecutionCommand, frozen=True, tag="EraseExecution"):
    """From a person or a system: the contents of an execution that has ended are destroyed; see
    `ExecutionErased`."""

    reason: Annotated[str, msgspec.Meta(max_length=2_000)] = ""


class TimeOutExecution(ExecutionCommand, frozen=True, tag="TimeOutExecution"):
    """From a timer. spent_s: how long the execution was pending or running, as its events say."""

    spent_s: float


class DecideApproval(ExecutionCommand, frozen=True, tag="DecideApproval"):
    """From a person, on what was shown. Already checked: edits, against the schemas of their tasks.

    decision  retry: not so; do the work before it again, with the comment in view
    digest    of what was shown to whoever decides
    approver  who decides: the name among the approvers
    edits     outputs to go on with in place of those shown, by task
    """

    approval_id: str
    decision: Literal["approve", "reject", "retry"]
    digest: str
    approver: str
    comment: str = ""
    edits: dict[str, TaskOutput] = {}


class EndWait(StepCommand, frozen=True, tag="EndWait"):
    """From a dispatcher: the time of the step's wait has come. Harmless when the wait is over already."""

    wait_id: str


class SendSignal(ExecutionCommand, frozen=True, tag="SendSignal"):
    """From outside. Already checked: the payload, against the step's schema."""

    name: str
    payload: Json
    by: str


class ReportChild(ExecutionCommand, frozen=True, tag="ReportChild"):
    """From the dispatcher: how a child has ended. May come again, and late.

    child    its id within this execution
    run      how often it has been retried
    spent    by it and its children in all, what could not be counted any more at its highest
    failure  why it did not complete
    """

    child: str
    status: ChildStatus
    run: int = 0
    spent: Amounts = NOTHING
    output: TaskOutput | None = None
    failure: Failure | None = None


class RaiseBudget(ExecutionCommand, frozen=True, tag="RaiseBudget"):
    """From a person or a system: what waits for budget goes on. budget: the limits that are others now;
    per_day: those of the workflow and day, for this execution."""

    budget: Budget = Budget()
    per_day: DayBudget | None = None


class SettleCall(ExecutionCommand, frozen=True, tag="SettleCall"):
    """From a person: how a call of unknown outcome came out; see `CallSettled`."""

    call: str
    outcome: Literal["happened", "did_not_happen", "failed"]
    result: Content | None = None
    message: Annotated[str, msgspec.Meta(max_length=2_000)] = ""


class ReviewTask(ExecutionCommand, frozen=True, tag="ReviewTask"):
    """From a person: whether the output of a task will do; see `TaskReviewed`."""

    review: str
    is_approved: bool
    feedback: Annotated[str, msgspec.Meta(max_length=20_000)] = ""


class ArchiveExecution(ExecutionCommand, frozen=True, tag="ArchiveExecution"):
    """From a person or a system: drop an execution that has ended from the read tables.

    place, files  where it was written to, whole, before; () for one that the log alone keeps
    """

    place: Annotated[str, msgspec.Meta(max_length=1_000)] = ""
    files: Annotated[tuple[ArchivedFile, ...], msgspec.Meta(max_length=MAX_FILES)] = ()


ExecutionCommands: TypeAlias = (
    RequestExecution
    | AdmitExecution
    | StartStep
    | RecordProgress
    | RescheduleStep
    | CancelExecution
    | PauseExecution
    | ResumeExecution
    | DecideApproval
    | EndWait
    | SendSignal
    | RetryExecution
    | TimeOutExecution
    | RaiseBudget
    | SettleCall
    | ReviewTask
    | ArchiveExecution
    | ReportChild
    | EraseExecution
)
