"""Which fields of an execution's events are content, and what stands in their place where they are sealed.

Used where events are stored and read. Its one rule: every field of every event is named here, as content or
as shape; a test sees to that, so that a new event can not forget it.

Content is what was asked, answered or said, and by whom. Shape is what happened, when, how often, and for how
much: names of steps, tasks and tools, numbers, codes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import msgspec

from domain.definition import Definition, Guardrail
from domain.execution.admission import ExecutionHeld
from domain.execution.answers import CallSettled, TaskReviewed
from domain.execution.approvals import (
    ApprovalGiven,
    ApprovalRejected,
    ApprovalRequested,
    MapStarted,
    SignalReceived,
    StepResolved,
)
from domain.execution.calls import (
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallStarted,
)
from domain.execution.children import ChildEnded, ChildRequested
from domain.execution.events import (
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionRequested,
    RouteChosen,
    StepFailed,
    StepSuspended,
    TaskCompleted,
    TaskFailed,
    TaskReused,
)
from domain.execution.forks import ForkedFrom
from domain.execution.values import Content, Failure, TaskOutput, Wait
from domain.message import Event, tag_of
from domain.steps import Approval, Map, Router, Step

BLANK = "(sealed)"
"""In place of a text that may not be empty."""

Blank = Callable[[bytes], bytes | None]
"""What stands for a field's JSON; None: the field is left out, which is its default."""

replace = msgspec.structs.replace


def left_out(_: bytes) -> None:
    """Of a field whose default says nothing."""


def empty_text(_: bytes) -> bytes:
    return b'""'


def empty_object(_: bytes) -> bytes:
    return b"{}"


def nothing(_: bytes) -> bytes:
    return b"null"


def sealed_text(json: bytes) -> bytes | None:
    """That there is one."""
    return None if json == b"null" else msgspec.json.encode(BLANK)


def content(json: bytes) -> bytes:
    """How large it is; its digest would tell a guess from a wrong one."""
    return _encode(Content("", _content(json).size_bytes, ""))


def output(json: bytes) -> bytes:
    return b"null" if json == b"null" else _encode(TaskOutput(""))


def failure(json: bytes) -> bytes:
    """code and task stay: they are for programs."""
    if json == b"null":
        return json
    return _encode(replace(_failure(json), message=""))


def wait(json: bytes) -> bytes:
    return _encode(replace(_wait(json), message=""))


def past(json: bytes) -> bytes:
    """Where it was forked, without the results that were edited and what was said of others."""
    return b"null" if json == b"null" else _encode(replace(_past(json), edits=(), remarks={}))


@lru_cache(maxsize=64)
def document(json: bytes) -> bytes:
    """The graph with its names and limits, without a prompt, schema, condition or message."""
    return _encode(skeleton(_document(json)))


@lru_cache(maxsize=64)
def saved_document(json: bytes) -> bytes:
    """The same of a version of a workflow, whose name is no secret of the execution."""
    whole = _document(json)
    return _encode(replace(skeleton(whole), name=whole.name))


def skeleton(document: Definition) -> Definition:
    limit = document.concurrency
    return replace(
        document,
        name=BLANK,
        description="",
        inputs={},
        schemas={},
        agents={
            name: replace(agent, role=BLANK, goal=BLANK, backstory=BLANK)
            for name, agent in document.agents.items()
        },
        tasks={
            name: replace(
                task,
                description=BLANK,
                expected_output=BLANK,
                guardrail=task.guardrail and Guardrail(max_retries=task.guardrail.max_retries),
            )
            for name, task in document.tasks.items()
        },
        steps={name: bare(step) for name, step in document.steps.items()},
        concurrency=limit and replace(limit, key=limit.key and BLANK),
    )


def bare(step: Step) -> Step:
    """The step without what a person wrote into it."""
    return replace(
        step,
        router=step.router and without_conditions(step.router),
        approval=step.approval and without_words(step.approval),
        wait=step.wait and (replace(step.wait, until=BLANK) if step.wait.until else step.wait),
        map=step.map and without_list(step.map),
        workflow=step.workflow and replace(step.workflow, inputs={}),
    )


def without_list(mapped: Map) -> Map:
    child = mapped.workflow and replace(mapped.workflow, inputs={})
    return replace(mapped, over=BLANK, workflow=child)


def without_conditions(router: Router) -> Router:
    return replace(router, routes=tuple(replace(route, when=BLANK) for route in router.routes))


def without_words(approval: Approval) -> Approval:
    return replace(approval, message=BLANK, approvers=())


CONTENT: dict[type[Event], dict[str, Blank]] = {
    ExecutionRequested: {
        "name": sealed_text,
        "definition": document,
        "inputs": empty_object,
        "forked_from": past,
    },
    ExecutionHeld: {"key": empty_text},
    RouteChosen: {"when": sealed_text, "seen": left_out},
    ApprovalRequested: {
        "message": empty_text,
        "digest": empty_text,
        "shown": left_out,
        "approvers": left_out,
    },
    ApprovalGiven: {"by": empty_text, "comment": left_out, "edits": left_out, "digest": left_out},
    ApprovalRejected: {"by": empty_text, "comment": left_out},
    SignalReceived: {"payload": nothing, "by": empty_text},
    StepResolved: {"output": output, "failure": failure},
    ChildRequested: {"inputs": left_out},
    ChildEnded: {"failure": failure},
    MapStarted: {"items": left_out},
    TaskCompleted: {"output": output},
    TaskFailed: {"failure": failure},
    TaskReused: {"output": output},
    StepFailed: {"failure": failure},
    StepSuspended: {"wait": wait},
    ModelCallStarted: {"request": content},
    ModelCallCompleted: {"response": content},
    ModelCallFailed: {"failure": failure},
    ToolCallStarted: {"arguments": content},
    ToolCallCompleted: {"result": content},
    ToolCallFailed: {"failure": failure},
    CallSettled: {"result": left_out, "message": left_out},
    TaskReviewed: {"feedback": left_out},
    ExecutionPaused: {"reason": left_out},
    ExecutionCancelled: {"reason": left_out},
    ExecutionCompleted: {"output": output},
    ExecutionFailed: {"failure": failure},
}
"""By event, its content, and what stands for it."""

_SHAPE = """
    agent approval approvals asks_for_tools attempt budget by_parent call child children
    completion_tokens cost_usd default_model delay_s delivery duration_ms estimate files is_approved
    is_edited is_left_out limit model models name order origin outcome parent per_day place priority
    prompt_tokens queue reason refused remarked require_comment retried review run runner signal
    slots_id spent status step task then timeout_s tool turn without workflow_id workflow_version
"""

SHAPE = frozenset(_SHAPE.split())
"""Names of fields that are no content, wherever `CONTENT` does not say otherwise."""

REQUESTED = tag_of(ExecutionRequested)
_BLANKS = {tag_of(event): blanks for event, blanks in CONTENT.items()}
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_content = msgspec.json.Decoder(Content).decode
_failure = msgspec.json.Decoder(Failure).decode
_wait = msgspec.json.Decoder(Wait).decode
_past = msgspec.json.Decoder(ForkedFrom).decode
_document = msgspec.json.Decoder(Definition).decode


def blanked(tag: str, body: bytes) -> bytes | None:
    """A stored event with blanks for its content; None for one that has none."""
    blanks = _BLANKS.get(tag)
    if blanks is None:
        return None
    fields = _fields(body)
    found = False
    if tag == REQUESTED and fields.get("workflow_id") is not None:
        blanks = {**blanks, "definition": saved_document}
    for name, blank in blanks.items():
        field = fields.get(name)
        if field is None:
            continue
        found, shown = True, blank(bytes(field))
        if shown is None:
            del fields[name]
        else:
            fields[name] = msgspec.Raw(shown)
    return _encode(fields) if found else None
