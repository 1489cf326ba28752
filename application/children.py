"""Child executions: begun, told what became of their parent, and reported to it when they have ended.

Called by the dispatcher with what it saw in the feed, and at its start with what the read tables show. Its
one rule: what an event says is only where to look; what is done follows from both streams as they are now,
until nothing is left to do. So whatever comes twice, late, or to several dispatchers changes nothing more.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec
import structlog

from application.commands import CommandHandler, Context
from application.requests import run_child
from application.resuming import resumed
from application.states import Preparation
from domain.errors import Conflict, KasalError, Unavailable
from domain.execution import (
    EXECUTION,
    CancelExecution,
    ChildRequested,
    ChildTold,
    Execution,
    ExecutionCompleted,
    ExecutionFailed,
    Failure,
    PauseExecution,
    ReportChild,
    ResumeExecution,
    RetryExecution,
    Status,
    child_execution_id,
    is_child,
)
from domain.execution.children import ChildState, ChildStatus
from domain.execution.rules.spawning import is_awaited
from domain.message import Recorded, tag_of
from domain.registry import event_of

log = structlog.get_logger()

WANTED = (tag_of(ChildRequested), tag_of(ChildTold))
ACTOR = "system:dispatcher"

Wish: TypeAlias = Literal["go_on", "pause", "stop"]
Deed: TypeAlias = (
    Preparation | CancelExecution | PauseExecution | ResumeExecution | RetryExecution | ReportChild
)


class OpenChild(msgspec.Struct, frozen=True):
    """A child that the read tables show as begun, or wanted, and not reported. child: its id within the
    parent."""

    tenant: str
    parent_id: str
    child: str


class Pair(NamedTuple):
    parent_id: str
    child: str


class Children:
    """One for a dispatcher. Raises what the log raises; then the same may come again."""

    def __init__(self, commands: CommandHandler) -> None:
        self._commands = commands

    async def recover(self, children: Iterable[OpenChild]) -> None:
        """Do again what may not have been done."""
        await self._settle_all(
            (Pair(child.parent_id, child.child), Context(actor=ACTOR, tenant=child.tenant))
            for child in children
        )

    async def follow(self, batch: Sequence[Recorded], ends: Sequence[Recorded]) -> None:
        """What a batch of the feed asks for. ends: those of its events that end an execution."""
        found: list[tuple[Pair, Context]] = []
        for recorded in batch:
            if recorded.tag in WANTED:
                event = event_of(recorded)
                assert isinstance(event, ChildRequested | ChildTold)  # noqa: S101 - its tag was compared
                found.append((Pair(recorded.entity_id, event.child), caused_by(recorded)))
        for end in ends:
            if is_child(end.entity_id):
                state = await self._commands.known_state(EXECUTION, end.entity_id)
                if state.request is not None and (parent := state.request.parent) is not None:
                    found.append((Pair(parent.execution_id, parent.child), caused_by(end)))
        await self._settle_all(found)

    async def _settle_all(self, found: Iterable[tuple[Pair, Context]]) -> None:
        """Of one parent in turn: they all change its stream."""
        pairs: defaultdict[str, dict[Pair, Context]] = defaultdict(dict)
        for pair, context in found:
            pairs[pair.parent_id][pair] = context
        await asyncio.gather(*(self._settle_each(of_one) for of_one in pairs.values()))

    async def _settle_each(self, pairs: dict[Pair, Context]) -> None:
        for pair, context in pairs.items():
            while await self._step(pair, context):
                pass

    async def _step(self, pair: Pair, context: Context) -> bool:
        """The next thing to do for a child; whether something changed, so that there may be another."""
        parent = await self._commands.state_of(EXECUTION, pair.parent_id)
        if (known := parent.children.get(pair.child)) is None:
            return False
        child = await self._child(pair)
        deed = next_deed(pair, parent, known, child)
        if deed is None:
            return False
        try:
            wish = resumed(deed, self._commands.now()) if isinstance(deed, ResumeExecution) else deed
            return bool((await self._commands.handle(wish, context)).events)
        except (Unavailable, Conflict):
            raise
        except KasalError as error:
            return await self._refused(pair, deed, child, error, context)

    async def _refused(
        self, pair: Pair, deed: Deed, before: Execution, error: KasalError, context: Context
    ) -> bool:
        """Another was first, or it will never be: then its parent hears of that."""
        now = await self._child(pair)
        if (now.status, now.retries) != (before.status, before.retries):
            return True
        if now.status is not None and now.is_open:
            return False
        if isinstance(deed, ReportChild):
            log.warning("the end of a child can not be reported", parent=pair.parent_id, error=str(error))
            return False
        report = ReportChild(
            execution_id=pair.parent_id,
            child=pair.child,
            status="refused",
            run=(isinstance(deed, RetryExecution) and deed.run) or 0,
            spent=now.account.committed,
            failure=Failure("refused", words_of(error)),
        )
        return bool((await self._commands.handle(report, context)).events)

    async def _child(self, pair: Pair) -> Execution:
        return await self._commands.state_of(EXECUTION, child_execution_id(*pair))


def next_deed(pair: Pair, parent: Execution, known: ChildState, child: Execution) -> Deed | None:
    """What the child, or its parent, has to be told next; None when both are as they should be."""
    wish, execution_id = wish_of(parent, pair.child), child_execution_id(*pair)
    if child.status is None:
        if wish == "go_on" and known.request is not None:
            return run_child(pair.parent_id, parent, known.request)
        return stopped(pair) if wish == "stop" and known.is_open else None
    if child.is_open:
        if wish == "stop":
            return CancelExecution(
                execution_id=execution_id, reason="its parent does not wait for it any more"
            )
        if wish == "pause" and child.status is not Status.PAUSED:
            return PauseExecution(execution_id=execution_id, reason="its parent is paused", by_parent=True)
        resumes = wish == "go_on" and child.is_paused_by_parent
        return ResumeExecution(execution_id=execution_id, by_parent=True) if resumes else None
    if child.retries < known.run and wish != "stop":
        return RetryExecution(execution_id=execution_id, run=known.run) if wish == "go_on" else None
    return report_of(pair, known, child)


def wish_of(parent: Execution, child: str) -> Wish:
    if not parent.is_open or not is_awaited(parent, child):
        return "stop"
    return "pause" if parent.status is Status.PAUSED else "go_on"


def stopped(pair: Pair) -> ReportChild:
    """Of a child that was never begun, and need not be."""
    failure = Failure("cancelled", "it was not begun")
    return ReportChild(execution_id=pair.parent_id, child=pair.child, status="cancelled", failure=failure)


STATUSES: dict[Status, ChildStatus] = {
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
    Status.TIMED_OUT: "timed_out",
}


def report_of(pair: Pair, known: ChildState, child: Execution) -> ReportChild:
    assert child.status is not None  # noqa: S101 - it has ended
    end = child.end
    return ReportChild(
        execution_id=pair.parent_id,
        child=pair.child,
        status=STATUSES[child.status],
        run=max(child.retries, known.run),
        spent=child.account.committed,
        output=end.output if isinstance(end, ExecutionCompleted) else None,
        failure=failure_of(child),
    )


def failure_of(child: Execution) -> Failure | None:
    match child.end:
        case None | ExecutionCompleted():
            return None
        case ExecutionFailed(failure=failure):
            return failure
        case end if child.status is Status.CANCELLED:
            return Failure("cancelled", getattr(end, "reason", ""))
        case _:
            return Failure("timed_out", "it was pending or running for too long")


def words_of(error: KasalError) -> str:
    """With the fields, where it names some."""
    faults = getattr(error, "faults", ())
    return "; ".join(f"{fault.pointer} {fault.message}" for fault in faults)[:2_000] or str(error)[:2_000]


def caused_by(recorded: Recorded) -> Context:
    metadata = recorded.metadata
    return Context(
        actor=ACTOR,
        tenant=metadata.tenant,
        correlation_id=metadata.correlation_id,
        causation_id=metadata.event_id,
        traceparent=metadata.traceparent,
    )
