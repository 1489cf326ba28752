"""Logs as they happen: workflows, a catalogue and executions, made by sending commands to the domain.

Used by tests and benchmarks that need a realistic list of `Recorded` events. Its one rule: no event is
written by hand; what `decide` would refuse can not be in a history. The same seed gives the same history.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from domain.catalog import Model, PlantEntry, RemoveEntry, SetEntry, Template
from domain.definition import Agent, Crew, Definition, Limits, Step, Task
from domain.execution import ForkedFrom, RequestExecution
from domain.execution.past import past_of
from domain.execution.sealing import blanked
from domain.message import Aggregate, Metadata, Recorded, tag_of
from domain.registry import AGGREGATES, AnyCommand, event_of
from domain.workflow import ArchiveWorkflow, CreateWorkflow, PlantWorkflow, ReviseWorkflow
from tests.projections.runners import MODELS, Runner

START = datetime(2026, 11, 24, 23, 59, tzinfo=UTC)
"""Just before midnight, so that a history touches two days."""

TICK = timedelta(milliseconds=137, microseconds=1)


ERASED = "execution.erased"


class History:
    """An event log in memory that commands are sent to; a `LogReader` for projections."""

    def __init__(self) -> None:
        self.events: list[Recorded] = []
        self._states: dict[str, tuple[Any, int]] = {}

    def handle(self, command: AnyCommand, *, tenant: str = "default", actor: str = "user:ada") -> None:
        """Raises what `decide` raises."""
        aggregate = aggregate_of(command)
        state, version = self._states.get(command.stream, (aggregate.initial, 0))
        command_id = f"command-{len(self.events) + 1}"
        for event in aggregate.decide(state, command):
            state, version = aggregate.evolve(state, event), version + 1
            position = len(self.events) + 1
            metadata = Metadata(
                event_id=f"event-{position}",
                at=START + TICK * position,
                tenant=tenant,
                actor=actor,
                command_id=command_id,
                correlation_id=command_id,
            )
            recorded = Recorded(
                position=position,
                stream=command.stream,
                version=version,
                tag=tag_of(event),
                body=msgspec.json.encode(event),
                metadata=metadata,
            )
            self.events.append(recorded)
        self._states[command.stream] = (state, version)

    def state(self, stream: str) -> Any:
        """What a stream's events add up to; it must have some."""
        return self._states[stream][0]

    def append(self, stream: str, tag: str, body: bytes, *, version: int) -> Recorded:
        """An event that no command makes, for tests of what is unknown or unreadable."""
        last = self.events[-1].metadata
        recorded = Recorded(
            position=len(self.events) + 1, stream=stream, version=version, tag=tag, body=body, metadata=last
        )
        self.events.append(recorded)
        return recorded

    async def read_all(self, after_position: int, limit: int) -> Sequence[Recorded]:
        found = self.events[after_position : after_position + limit]
        erased = {event.stream for event in self.events if event.tag == ERASED}
        return [without_content(event) if event.stream in erased else event for event in found]

    async def read_stream(self, stream: str, after_version: int = 0) -> Sequence[Recorded]:
        """Without contents where these were erased."""
        found = [event for event in self.events if event.stream == stream]
        if any(event.tag == ERASED for event in found):
            found = [without_content(event) for event in found]
        return found[after_version:]

    async def head(self) -> int:
        return len(self.events)


def without_content(event: Recorded) -> Recorded:
    return msgspec.structs.replace(event, body=blanked(event.tag, event.body) or event.body)


def aggregate_of(command: AnyCommand) -> Aggregate[Any, Any, Any]:
    return next(a for a in AGGREGATES if isinstance(command, a.commands))


def definition(name: str = "Blog production", *, steps: bool = False, max_attempts: int = 3) -> Definition:
    """Three agents, three tasks; one step, or three in a row."""
    roles = {"researcher": "Researcher", "writer": "Writer", "editor": "Editor"}
    agents = {
        agent: Agent(role=role, goal=f"Be a good {role}", backstory="Ten years of it", model=MODELS[0])
        for agent, role in roles.items()
    }
    tasks = {
        task: Task(description=f"Do: {task}", expected_output="a text", agent=agent)
        for task, agent in zip(("research", "write", "edit"), roles, strict=True)
    }
    chain = {
        "first": Step(crew=Crew(tasks=("research",))),
        "second": Step(crew=Crew(tasks=("write",)), after=("first",)),
        "third": Step(crew=Crew(tasks=("edit",)), after=("second",)),
    }
    return Definition(
        name=name,
        agents=agents,
        tasks=tasks,
        inputs={"industry": {"type": "string"}},
        steps=chain if steps else {},
        limits=Limits(max_attempts=max_attempts),
    )


def request(execution_id: str, document: Definition, *, workflow_id: str | None = None) -> RequestExecution:
    return RequestExecution(
        execution_id=execution_id,
        name=f"{document.name} № {execution_id}",
        definition=document,
        inputs={"industry": "shipping"},
        models={model: Model(name=model) for model in MODELS},
        workflow_id=workflow_id,
        workflow_version=1 if workflow_id else None,
    )


def plant_catalog(history: History) -> None:
    """Two models and a template; a person changes one and removes one."""
    for model in (*MODELS, "openai/old"):
        history.handle(PlantEntry(kind="models", entry=Model(name=model, default=model == MODELS[0])))
    history.handle(PlantEntry(kind="templates", entry=Template(name="greeting", text="Dear {name}")))
    history.handle(SetEntry(kind="models", entry=Model(name=MODELS[1], temperature=0.5)))
    history.handle(RemoveEntry(kind="models", name="openai/old"))


def create_workflows(history: History) -> None:
    """Three: one revised, one archived, one planted."""
    history.handle(CreateWorkflow(workflow_id="blog", definition=definition()))
    history.handle(ReviseWorkflow(workflow_id="blog", definition=definition("Blog, better", steps=True)))
    history.handle(CreateWorkflow(workflow_id="old", definition=definition("Old times")))
    history.handle(ArchiveWorkflow(workflow_id="old"))
    history.handle(PlantWorkflow(workflow_id="seed", definition=definition("From a seed")))


def history_of(
    seed: int = 1, *, executions: int = 12, tenants: Sequence[str] = ("default",), at_once: int = 6
) -> History:
    """A catalogue, workflows, and executions that run beside one another to their ends, good and bad."""
    dice = random.Random(seed)  # noqa: S311 - not a secret
    history = History()
    plant_catalog(history)
    create_workflows(history)
    waiting = [f"e{number:05d}" for number in range(1, executions + 1)]
    working: list[Iterator[None]] = []
    while waiting or working:
        if waiting and len(working) < at_once:
            execution_id = waiting.pop(0)
            tenant = dice.choice(tenants)
            document = definition(steps=dice.random() < 0.5, max_attempts=dice.choice((1, 3)))
            workflow_id = dice.choice(("blog", "seed", None))
            history.handle(request(execution_id, document, workflow_id=workflow_id), tenant=tenant)
            working.append(Runner(history, execution_id, dice, tenant).work())
        chosen = dice.choice(working)
        if next(chosen, chosen) is chosen:
            working.remove(chosen)
    for number in range(1, executions + 1, 4):
        work_on_a_fork(history, f"e{number:05d}", dice)
    return history


def work_on_a_fork(history: History, parent: str, dice: random.Random) -> None:
    """A fork from anywhere in an execution, worked to its end on its parent's ground."""
    recorded = [each for each in history.events if each.stream == f"execution-{parent}"]
    at = dice.randint(1, len(recorded))
    past = past_of(parent, [event_of(each) for each in recorded[:at]])  # type: ignore[misc]
    original = past.state.request
    assert original is not None
    wish = request(f"{parent}f", original.definition, workflow_id=original.workflow_id)
    fork = ForkedFrom(parent, at, tasks=tuple(past.tasks))
    tenant = recorded[0].metadata.tenant
    history.handle(
        msgspec.structs.replace(wish, forked_from=fork, taken_over=past.taken_over()), tenant=tenant
    )
    for _ in Runner(history, f"{parent}f", dice, tenant).work():
        pass


def repeated(events: Sequence[Recorded], count: int, *, at_once: int = 200) -> Iterator[Recorded]:
    """`count` events or a few more: the executions of a history, again and again under new ids.

    `at_once` of them run beside one another. Fast: no command is decided again.
    """
    streams: dict[str, list[Recorded]] = {}
    for recorded in events:
        if recorded.category == "execution":
            streams.setdefault(recorded.stream, []).append(recorded)
    originals = list(streams.values())
    position, made = 0, 0
    while position < count:
        copies = []
        for _ in range(at_once):
            copies.append((f"execution-x{made:08d}", originals[made % len(originals)]))
            made += 1
        for version in range(max(len(original) for _, original in copies)):
            for stream, original in copies:
                if version < len(original):
                    position += 1
                    yield msgspec.structs.replace(original[version], position=position, stream=stream)
