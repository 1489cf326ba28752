"""The workflow document: agents, tasks and steps, in CrewAI's own field names.

Written by people (JSON or YAML), checked whole by `domain.checks`, pinned by every execution. Its one rule:
every field here is enforced by the runner or by `decide`; what is not a field is refused by name.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

import msgspec

from domain.limits import Budget, DayBudget
from domain.retries import Retry
from domain.steps import Approval, ChildWorkflow, Crew, Delay, Join, Map, Route, Router, Signal, Step
from domain.terms import (
    PLACEHOLDER,
    CallsPerMinute,
    Json,
    JsonSchema,
    ModelName,
    Name,
    Priority,
    Text,
    Title,
    UnknownOutcome,
)

ITEM = "--"
"""Between a step or task of a map and the number of an item."""

SINGLE_STEP = "crew"
"""The name of the step of a document that gives no steps."""


class Agent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who works on tasks.

    model     None: the catalogue's default model
    tools     names of the catalogue
    max_iter  model calls for one task before the agent has to answer, 1..100
    max_rpm   model calls within a minute, over all its tasks of a step; None: as many as it likes
    max_execution_time  seconds for one task; then the task fails
    unknown_outcome     what becomes of a tool call that may have happened; None: what its tool says
    allow_delegation    it may give work to, and ask, the other agents of the document
    """

    role: Title
    goal: Text
    backstory: Text
    model: ModelName | None = None
    tools: tuple[Name, ...] = ()
    max_iter: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    max_rpm: CallsPerMinute | None = None
    max_execution_time: Annotated[int, msgspec.Meta(ge=1, le=86_400)] | None = None
    allow_delegation: bool = False
    unknown_outcome: UnknownOutcome | None = None


class Guardrail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an answer has to pass. All that is given is checked, the model last.

    description           a rule in words, judged by the agent's model
    min_words, max_words  how long the answer may be
    matches               a regular expression that is found in it
    schema                the name of a JSON Schema that the answer, as JSON, is an instance of
    max_retries           how often the agent tries again, told what is wrong; then the task fails
    """

    description: Text | None = None
    min_words: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None
    max_words: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None
    matches: Annotated[str, msgspec.Meta(min_length=1, max_length=500)] | None = None
    schema: Name | None = None
    max_retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 3


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One piece of work.

    agent            who works on it; None: the manager of its crew has it done by whom it likes
    context          tasks whose outputs the agent sees; None: all earlier tasks of its crew, () none
    tools            for this task, in place of the agent's own
    output_schema    the name of a JSON Schema that the output must be an instance of
    async_execution  run beside the async tasks next to it; the next other task waits for them
    guardrail        what the answer has to pass
    human_input      a person approves the output, or has the agent try again; the step waits for that
    timeout_s        how long one attempt at it may take; then its step fails with code task_timeout
    """

    description: Text
    expected_output: Text
    agent: Name | None = None
    context: tuple[Name, ...] | None = None
    tools: tuple[Name, ...] | None = None
    output_schema: Name | None = None
    async_execution: bool = False
    guardrail: Guardrail | None = None
    human_input: bool = False
    timeout_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] | None = None


class Limits(Budget, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Bounds of an execution, its budget among them.

    max_attempts  how often a step may be begun when runners die under it, 1..100
    timeout_s     how long it may be pending or running, in all; what it waits or is paused does not count
    per_day       what all executions of the workflow together may spend on a day (UTC)
    on_exceeded   in place of a call that could break the budget: the step waits until it is raised, or the
                  execution fails
    """

    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    timeout_s: Annotated[int, msgspec.Meta(ge=1, le=31_536_000)] | None = None
    per_day: DayBudget | None = None
    on_exceeded: Literal["wait", "fail"] = "wait"

    @property
    def bounds_answers(self) -> bool:
        return super().bounds_answers or bool(self.per_day and self.per_day.bounds_answers)

    @cached_property
    def budget(self) -> Budget:
        """The limits on what is spent, by themselves."""
        return Budget(**{name: getattr(self, name) for name in Budget.__struct_fields__})


class Concurrency(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many executions of a workflow may be under way at once.

    limit  of each key, 1..10,000
    key    a text with inputs in it, such as "{customer}"; left out: all executions of the workflow together
    """

    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)] | None = None


class Definition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """A whole workflow document.

    agents, tasks  may be left out where no step is a crew or a map
    inputs   JSON Schema by input name; a `default` makes the input optional
    steps    left out: one step, `crew`, of all the tasks in their order
    schemas  JSON Schemas by name; those of the catalogue are copied in when the document is saved, so that a
             version never changes
    isolation  process: each step in a process of its own, so that a crash in it touches nothing else
    queue, priority  of its steps, unless a start says otherwise; the higher priority is taken first
    concurrency      how many executions may be under way at once
    """

    name: Title
    agents: Annotated[dict[Name, Agent], msgspec.Meta(max_length=100)] = {}
    tasks: Annotated[dict[Name, Task], msgspec.Meta(max_length=200)] = {}
    description: Annotated[str, msgspec.Meta(max_length=20_000)] = ""
    inputs: Annotated[dict[Name, JsonSchema], msgspec.Meta(max_length=100)] = {}
    steps: Annotated[dict[Name, Step], msgspec.Meta(max_length=200)] = {}
    limits: Limits = Limits()
    retry: Retry = Retry()
    schemas: Annotated[dict[Name, JsonSchema], msgspec.Meta(max_length=100)] = {}
    isolation: Literal["none", "process"] = "none"
    queue: Name = "default"
    priority: Priority = 5
    concurrency: Concurrency | None = None

    @cached_property
    def graph(self) -> dict[str, Step]:
        """The steps, with the single step of a document that gives none.

        Worked out once, and for reading only, like everything below that is.
        """
        return self.steps or {SINGLE_STEP: Step(crew=Crew(tasks=tuple(self.tasks)))}

    @cached_property
    def links(self) -> dict[str, tuple[str, ...]]:
        """Each step, and what it comes after: its `after`, and the steps that may choose to lead to it."""
        found = {name: dict.fromkeys(step.predecessors) for name, step in self.graph.items()}
        for name, step in self.steps.items():
            for target in step.targets:
                found.get(target, {})[name] = None
        return {name: tuple(before) for name, before in found.items()}

    @cached_property
    def choosers(self) -> dict[str, tuple[str, ...]]:
        """Each step that others may lead to by their own choice, and those others."""
        found: dict[str, list[str]] = {}
        for name, node in self.graph.items():
            for target in node.targets:
                found.setdefault(target, []).append(name)
        return {target: tuple(names) for target, names in found.items()}

    @cached_property
    def step_of_task(self) -> dict[str, str]:
        """Each task of a crew, and the step that works on it."""
        return {task: name for name in self.graph for task in self.tasks_of(name)}

    def tasks_of(self, step: str) -> tuple[str, ...]:
        """The tasks that a runner works on in a step; () for a step that no runner sees.

        Of an item of a map (`enrich--3`) with the item's number behind (`look_up--3`).
        """
        work, number = self.graph[self.base_of(step)].work, self.item_of(step)
        tasks = work.tasks if work else ()
        return tasks if number is None else tuple(f"{task}{ITEM}{number}" for task in tasks)

    def child_of(self, step: str) -> ChildWorkflow | None:
        """What a step, or an item of a map, runs as a child."""
        return self.graph[self.base_of(step)].child

    def base_of(self, step: str) -> str:
        """The step as the document has it: `enrich` of `enrich--3`."""
        return step if step in self.graph else step.rpartition(ITEM)[0]

    def item_of(self, step: str) -> int | None:
        """3 of `enrich--3`; None of a step that is no item of a map."""
        return None if step in self.graph else int(step.rpartition(ITEM)[2])

    def as_assigned(self, step: str) -> Definition:
        """The document as a runner of the step sees it: an item of a map is a step with tasks of its own."""
        number, work = self.item_of(step), self.graph[self.base_of(step)].work
        if number is None or work is None:
            return self
        own = work.tasks
        tasks = {f"{name}{ITEM}{number}": numbered(self.tasks[name], own, number) for name in own}
        node = Step(crew=msgspec.structs.replace(work, tasks=tuple(tasks)))
        return msgspec.structs.replace(self, tasks=tasks, steps={step: node})

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The model names that agents and crews ask for, each once, in order."""
        crews = [step.work for step in self.graph.values() if step.work]
        asked = [agent.model for agent in self.agents.values()]
        asked += [model for crew in crews for model in (crew.manager_model, crew.planning_model)]
        return tuple(dict.fromkeys(model for model in asked if model))

    @cached_property
    def execution_name(self) -> str:
        """A name for a run: the workflow and the roles that work on it, at most 100 characters.

        >>> blog.execution_name  # doctest: +SKIP
        'Blog production: Researcher, Writer, Editor'
        """
        working = [task.agent for task in self.tasks.values() if task.agent] or list(self.agents)
        roles = dict.fromkeys(self.agents[agent].role.strip() for agent in working)
        working_on_it = f": {', '.join(roles)}" if roles else ""
        full = " ".join(f"{self.name}{working_on_it}".split())
        return full if len(full) <= 100 else full[:99].rstrip(" ,:") + "…"

    def tools_of(self, task: Task) -> tuple[str, ...]:
        """The tools to use for a task: the task's own list where it has one, else its agent's."""
        if task.tools is not None or task.agent is None:
            return task.tools or ()
        return self.agents[task.agent].tools


def numbered(task: Task, own: tuple[str, ...], number: int) -> Task:
    """A task of an item, whose context is the tasks of the same item."""
    if task.context is None:
        return task
    context = tuple(f"{name}{ITEM}{number}" if name in own else name for name in task.context)
    return msgspec.structs.replace(task, context=context)


__all__ = [
    "ITEM",
    "PLACEHOLDER",
    "SINGLE_STEP",
    "Agent",
    "Approval",
    "Crew",
    "Definition",
    "Delay",
    "Guardrail",
    "Join",
    "Json",
    "JsonSchema",
    "Limits",
    "Map",
    "ModelName",
    "Name",
    "Route",
    "Router",
    "Signal",
    "Step",
    "Task",
    "Text",
    "Title",
]
