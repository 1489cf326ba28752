"""Forks: a new execution that has the past of another, up to one of its versions, and goes on otherwise.

`fork_execution` prepares the command for the API. Its one rule: an override that could change nothing any
more, because what it speaks of had completed by then, is refused by its field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from application.documents import check, check_size, read_inputs
from application.journals import is_erased
from application.overrides import Overrides, changed_definition, override_faults
from application.requests import refuse_archived
from application.states import Preparation, Reads
from domain.catalog import CATALOG, Catalog, Model
from domain.checks import pointer
from domain.definition import Definition, Json
from domain.errors import Fault, Invalid, NotFound, Rejected
from domain.execution import Edit, ExecutionRequested, ForkedFrom, Origin, RequestExecution
from domain.execution.past import Past, past_of
from domain.message import Event
from domain.registry import event_of

NAME_SUFFIX = " (fork)"


def fork_execution(
    execution_id: str,
    parent_id: str,
    overrides: Overrides,
    *,
    tenant: str,
    at: int | None = None,
    name: str | None = None,
) -> Preparation:
    """A new execution with the past of `parent_id`. Raises `NotFound`, `Rejected`, `Invalid`, `TooLarge`.

    at  a version of the parent. None: its end, or the last version at which no task that is overridden was
        begun and each call that is overridden had just been answered.
    """

    async def prepare(reads: Reads) -> RequestExecution:
        # No guard: what stands below a version of a stream never changes.
        recorded = await reads.events(f"execution-{parent_id}")
        if not recorded or recorded[0].metadata.tenant != tenant:
            raise NotFound(f"there is no execution {parent_id!r}")
        if is_erased(recorded):
            raise Rejected(f"{parent_id!r} was erased: nothing of it is left to begin from")
        events = [event_of(one) for one in recorded]
        first = cast("ExecutionRequested", events[0])
        if first.forked_from is not None and first.forked_from.is_what_if:
            raise Rejected(f"{parent_id!r} is a what-if, whose tools never ran; fork the execution it is of")
        if first.workflow_id is not None:
            await refuse_archived(reads, first.workflow_id)
        shelf = await reads.of(CATALOG, "models")
        catalog = shelf.of_models
        check([*override_faults(first, overrides, catalog)])
        return Fork(parent_id, events, overrides, at).command(execution_id, name, catalog)

    return prepare


class Fork:
    """One fork while it is prepared. Raises `Invalid` with every fault, when made and when asked."""

    def __init__(self, parent_id: str, events: Sequence[Event], overrides: Overrides, at: int | None) -> None:
        self._parent_id = parent_id
        self._events = events
        self._overrides = overrides
        self._parent = cast("ExecutionRequested", events[0])
        self._whole = self._past(len(events))
        check([*self._unknown_calls(), *self._beyond_the_end(at)])
        self._at = at or self._latest()
        self._had = self._past(self._at)

    def command(self, execution_id: str, name: str | None, catalog: Catalog) -> RequestExecution:
        parent = self._parent
        definition = changed_definition(parent.definition, self._overrides)
        check([*self._too_late()])
        check_size(definition)
        default = [parent.default_model] if parent.default_model else []
        wanted = sorted({*definition.models, *default})
        return RequestExecution(
            execution_id=execution_id,
            name=name or forked_name(parent.name),
            definition=definition,
            inputs=self._inputs(definition),
            models={model: parent.models.get(model) or catalog.model(model) for model in wanted},
            default_model=parent.default_model,
            workflow_id=parent.workflow_id,
            workflow_version=parent.workflow_version,
            queue=parent.queue,
            priority=parent.priority,
            children=parent.children,
            forked_from=self._forked_from(definition),
            taken_over=self._had.taken_over(),
        )

    def _past(self, at: int) -> Past:
        return past_of(self._parent_id, self._events[:at])  # type: ignore[arg-type]

    def _latest(self) -> int:
        """The last version at which every task and call that is overridden can still be another."""
        begun = (self._whole.began[task] - 1 for task in self._overrides.tasks if task in self._whole.tasks)
        answered = (self._answered(call) for call in self._overrides.calls)
        return min((len(self._events), *begun, *answered))

    def _answered(self, call: str) -> int:
        """The version from which on an answer can be given to a call: that of its own answer, or of its
        beginning."""
        unknown = self._whole.unknown.get(call)
        return unknown.version if unknown else self._whole.answered[call]

    def _edits(self) -> Iterator[Edit]:
        for call, override in self._overrides.calls.items():
            if (unknown := self._had.unknown.get(call)) is not None:
                yield Edit(Origin(self._parent_id, unknown.version, call), override.result)
            elif (outcome := self._had.call(call)) is not None:
                yield Edit(outcome.origin, override.result)

    def _inputs(self, definition: Definition) -> dict[str, Json]:
        try:
            return read_inputs(definition, {**self._parent.inputs, **self._overrides.inputs})
        except Invalid as invalid:
            check([Fault(f"/overrides{fault.pointer}", fault.message) for fault in invalid.faults])
            raise

    def _forked_from(self, definition: Definition) -> ForkedFrom:
        return ForkedFrom(
            self._parent_id,
            self._at,
            tasks=tuple(task for task in definition.tasks if task in self._had.tasks),
            edits=tuple(self._edits()),
            remarks=self._had.state.remarks,
            former_models={
                name: former for name in definition.agents if (former := self._former(name, definition))
            },
        )

    def _former(self, agent: str, definition: Definition) -> tuple[Model, ...]:
        """The models that an agent had in this past and has no more, the nearest first."""
        parent = self._parent
        was = parent.definition.agents[agent].model or parent.default_model
        nearest = [parent.models.get(was) or Model(name=was)] if was else []
        earlier = parent.forked_from.former_models.get(agent, ()) if parent.forked_from else ()
        now = definition.agents[agent].model or parent.default_model
        return tuple(model for model in (*nearest, *earlier) if model.name != now)

    def _beyond_the_end(self, at: int | None) -> Iterator[Fault]:
        if at is not None and at > len(self._events):
            yield Fault("/at", f"expected a version of execution {self._parent_id}: 1..{len(self._events)}")

    def _unknown_calls(self) -> Iterator[Fault]:
        for call in self._overrides.calls:
            if self._whole.call(call) is None and call not in self._whole.unknown:
                message = "is neither a call that was answered nor one of a tool; expected the id of one in"
                at = pointer("overrides", "calls", call)
                yield Fault(at, f"{message} the history of {self._parent_id}")

    def _too_late(self) -> Iterator[Fault]:
        """What is overridden, and had completed."""
        document, overrides, done = self._parent.definition, self._overrides, self._had.tasks
        if len(self._had.steps) == len(document.graph):
            expected = "expected an earlier one; at 1 everything is done again"
            yield Fault("/at", f"nothing is left to do at version {self._at}; {expected}")
        for name in overrides.tasks:
            if name in done:
                yield self._completed(pointer("overrides", "tasks", name), f"task {name!r}", name)
        for name in overrides.agents:
            own = [task for task, of in document.tasks.items() if of.agent == name]
            if own and done.issuperset(own):
                at = pointer("overrides", "agents", name)
                yield self._completed(at, f"every task of agent {name!r}", *own)
        if overrides.model and done.issuperset(document.tasks):
            yield self._completed("/overrides/model", "every task", *document.tasks)
        for call in overrides.calls:
            at = pointer("overrides", "calls", call)
            outcome = self._had.unknown.get(call) or self._had.call(call)
            if outcome is None:
                yield Fault(at, f"was not answered by version {self._at}; expected a later `at`")
            elif outcome.task in done:
                yield Fault(at, f"its task {outcome.task!r} had completed by then; expected an earlier `at`")

    def _completed(self, at: str, what: str, *tasks: str) -> Fault:
        last = max(self._whole.began[task] for task in tasks)
        return Fault(at, f"{what} had completed by version {self._at}; expected `at` to be below {last}")


def forked_name(name: str) -> str:
    """At most 100 characters."""
    return name if name.endswith(NAME_SUFFIX) else name[: 100 - len(NAME_SUFFIX)] + NAME_SUFFIX
