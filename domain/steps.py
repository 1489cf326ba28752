"""The steps of a workflow: what each kind is told, and what it waits for.

Part of the document (`domain.definition`). Its one rule: a crew is the only kind that a runner works on; the
others are decided by the execution itself.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from domain.limits import Budget
from domain.terms import CallsPerMinute, Condition, EntityId, Json, Line, ModelName, Name, Text

Names = Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=200)]


MAX_WAIT_S = 366 * 24 * 3600


class Crew(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Tasks that one runner works through, in this order.

    process         sequential: each task by its agent; hierarchical: by a manager, who delegates
    manager_agent   of a hierarchical crew: an agent of the document; or
    manager_model   the model of CrewAI's own manager
    planning        a model plans all tasks before the first
    planning_model  None: the catalogue's default
    max_rpm         model calls of the whole crew within a minute
    """

    tasks: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=100)]
    process: Literal["sequential", "hierarchical"] = "sequential"
    manager_agent: Name | None = None
    manager_model: ModelName | None = None
    planning: bool = False
    planning_model: ModelName | None = None
    max_rpm: CallsPerMinute | None = None


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """when: an expression over inputs and the outputs of earlier steps. then: the step that follows."""

    when: Condition
    then: Name


class Router(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The first route whose condition holds is taken; the steps that the others name are skipped.

    otherwise  the step that follows when none holds; left out: the execution fails and says what it saw
    """

    routes: Annotated[tuple[Route, ...], msgspec.Meta(min_length=1, max_length=50)]
    otherwise: Name | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """Every step that the router may lead to, each once, in order."""
        last = () if self.otherwise is None else (self.otherwise,)
        return tuple(dict.fromkeys((*(route.then for route in self.routes), *last)))


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A person decides whether the flow goes on.

    message          what is asked
    show             steps whose outputs the decision is about; None: the nearest before it that have one
    approvers        who may decide; () anybody
    approvals        how many of them have to agree; one that rejects is enough
    require_comment  every decision comes with one
    on_reject        the step that follows a rejection; left out: the execution fails
    timeout_s        how long it is waited for; None: for ever
    on_timeout       then it counts as rejected; or the execution fails, whatever `on_reject` says
    """

    message: Text
    show: Names | None = None
    approvers: Annotated[tuple[Line, ...], msgspec.Meta(max_length=100)] = ()
    approvals: Annotated[int, msgspec.Meta(ge=1, le=20)] = 1
    require_comment: bool = False
    on_reject: Name | None = None
    timeout_s: Annotated[int, msgspec.Meta(ge=1, le=MAX_WAIT_S)] | None = None
    on_timeout: Literal["reject", "fail"] = "reject"


class ChildWorkflow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A saved workflow runs as an execution of its own, the child; its output is the step's output.

    workflow_version  None: the newest when this execution begins
    inputs            of the child, by name: a text is an expression, anything else is taken as it is
    budget            what the child may spend at most; its own limits hold too, and what is left of this
                      execution's
    timeout_s         how long it is waited for; then it is cancelled and counts as failed; None: for ever
    on_failure        when the child fails, times out or can not be started: this execution fails, or goes on
    on_cancel         when somebody cancels the child: this execution fails, goes on, or is cancelled as well
    """

    workflow_id: EntityId
    workflow_version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None
    inputs: Annotated[dict[Name, Json], msgspec.Meta(max_length=100)] = {}
    budget: Budget | None = None
    timeout_s: Annotated[int, msgspec.Meta(ge=1, le=MAX_WAIT_S)] | None = None
    on_failure: Literal["fail", "continue"] = "fail"
    on_cancel: Literal["fail", "continue", "cancel"] = "fail"


class Map(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The same crew over every item of a list, side by side; the step's output is the list of theirs.

    over          an expression that gives the list, 10,000 items and 128 KiB at most
    crew          who works on each item; `{item}` in the texts of its tasks is the item, `{item_index}` its
                  place, from 0; or
    tasks         of a sequential crew without more; or
    workflow      that runs for each item, as a child; its `inputs` may speak of `item` and `item_index`
    max_parallel  how many items are worked on at once
    on_failure    of an item whose crew has failed in the end: the execution fails, or it goes on with null in
                  the item's place. Of a workflow's items: its own
    """

    over: Condition
    crew: Crew | None = None
    tasks: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=100)] | None = None
    workflow: ChildWorkflow | None = None
    max_parallel: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
    on_failure: Literal["fail", "continue"] = "fail"

    @property
    def work(self) -> Crew | None:
        """Who works on an item; None when a workflow does."""
        return self.crew or (Crew(tasks=self.tasks) if self.tasks else None)


class Delay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Nothing happens for a while.

    for_s  so many seconds; or
    until  an expression that gives a moment as text: ISO 8601 with a zone. One that has
           passed is over at once
    """

    for_s: Annotated[int, msgspec.Meta(ge=1, le=MAX_WAIT_S)] | None = None
    until: Condition | None = None


class Signal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Waits for a message from outside, whose payload is the step's output.

    name            what it is sent under; None: the step's own name
    payload_schema  the name of a JSON Schema that the payload must be an instance of
    """

    name: Name | None = None
    payload_schema: Name | None = None


class Join(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a step waits for: `all` of some steps, or `any` of them; one of the two is given."""

    all: Names | None = None
    any: Names | None = None


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A node of the graph, of exactly one kind. Without `after` it begins at once, or when a router leads to
    it; a list means all of them."""

    crew: Crew | None = None
    router: Router | None = None
    approval: Approval | None = None
    signal: Signal | None = None
    wait: Delay | None = None
    map: Map | None = None
    workflow: ChildWorkflow | None = None
    after: tuple[Name, ...] | Join = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that are given; exactly one in a document that passed its checks."""
        return tuple(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def work(self) -> Crew | None:
        """What runners work through: the crew, or that of each item of a map; None of another kind."""
        return self.crew or (self.map.work if self.map else None)

    @property
    def child(self) -> ChildWorkflow | None:
        """What runs as a child, or as that of each item of a map; None of another kind."""
        return self.workflow or (self.map.workflow if self.map else None)

    @property
    def targets(self) -> tuple[str, ...]:
        """The steps that this one may lead to by its own choice."""
        if self.approval is not None:
            return () if self.approval.on_reject is None else (self.approval.on_reject,)
        return self.router.targets if self.router else ()

    @property
    def predecessors(self) -> tuple[str, ...]:
        """The steps of `after`, in order."""
        if isinstance(self.after, Join):
            return self.after.all or self.after.any or ()
        return self.after

    @property
    def is_any(self) -> bool:
        """The first of its predecessors that is completed lets it begin."""
        return isinstance(self.after, Join) and self.after.any is not None


KINDS = tuple(field for field in Step.__struct_fields__ if field != "after")
"""The kinds of steps, as the document names them."""
