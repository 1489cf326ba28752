"""Faults of a document: each found, each at its field."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain import graph
from domain.catalog import Catalog, Model, Tool
from domain.checks import definition_faults, pointer
from domain.definition import Agent, Concurrency, Crew, Definition, Step, Task
from tests.domain.examples import blog, diamond

CATALOG = Catalog(
    models={"demo/small": Model(name="demo/small")},
    tools={"calculator": Tool(name="calculator", description="counts", parameters={})},
)


def task(**changes: object) -> Task:
    return Task(**{"description": "Do", "expected_output": "done", "agent": "writer", **changes})  # type: ignore[arg-type]


def found(definition: Definition, catalog: Catalog = CATALOG) -> dict[str, str]:
    return {fault.pointer: fault.message for fault in definition_faults(definition, catalog)}


def test_a_sound_document_has_no_fault() -> None:
    assert found(blog()) == {}
    assert found(diamond()) == {}


def test_all_faults_are_found_at_once() -> None:
    agents = {"writer": Agent(role="W", goal="{nobody}", backstory="b", model="acme/x", tools=("hammer",))}
    tasks = {"a": task(agent="nobody", context=("b",), output_schema="Nothing"), "b": task(context=("a",))}
    assert found(Definition(name="x", agents=agents, tasks=tasks)).keys() == {
        "/agents/writer/model",
        "/agents/writer/tools/0",
        "/agents/writer/goal",
        "/tasks/a/agent",
        "/tasks/a/output_schema",
        "/tasks",
        "/tasks/a/context/0",
    }


def test_a_model_of_a_known_provider_need_not_be_in_the_catalogue() -> None:
    assert found(
        blog(agents={"writer": Agent(role="W", goal="g", backstory="b", model="demo/large")})
    ).keys() == {"/tasks/research/agent"}


def test_an_agent_without_a_model_needs_a_default() -> None:
    agents = {"writer": Agent(role="W", goal="g", backstory="b"), "researcher": blog().agents["researcher"]}
    assert "/agents" in found(blog(agents=agents))
    default = Catalog(models={"demo/small": Model(name="demo/small", default=True)})
    assert found(blog(agents=agents), default) == {}


def test_a_placeholder_needs_an_input() -> None:
    assert found(blog(inputs={"tone": {}})).keys() == {
        "/tasks/research/description",
        "/tasks/draft/description",
    }


def test_steps_that_wait_for_each_other_are_named() -> None:
    steps = {
        "a": Step(crew=Crew(tasks=("research",)), after=("b",)),
        "b": Step(crew=Crew(tasks=("draft", "edit")), after=("a",)),
    }
    assert "a, b wait for each other" in found(blog(steps=steps))["/steps"]


def test_a_task_belongs_to_one_step() -> None:
    steps = {
        "a": Step(crew=Crew(tasks=("research", "draft"))),
        "b": Step(crew=Crew(tasks=("draft",)), after=("a",)),
    }
    assert found(blog(steps=steps)).keys() >= {"/steps/b/crew/tasks/0", "/tasks/edit"}


def test_an_output_is_seen_only_from_later_steps() -> None:
    steps = {
        "a": Step(crew=Crew(tasks=("research",))),
        "b": Step(crew=Crew(tasks=("draft", "edit"))),
    }
    assert found(blog(steps=steps)).keys() == {"/tasks/draft/context/0", "/tasks/edit/context/0"}
    steps["b"] = Step(crew=Crew(tasks=("draft", "edit")), after=("a",))
    assert found(blog(steps=steps)) == {}


def test_what_crewai_refuses_of_async_tasks_is_refused_here() -> None:
    tasks = {"a": task(async_execution=True), "b": task(async_execution=True, context=("a",))}
    assert found(blog(tasks=tasks)).keys() == {"/tasks/b/context/0", "/tasks/b/async_execution"}


def test_pointers_escape() -> None:
    assert pointer("a/b", "c~d", 0) == "/a~1b/c~0d/0"


def test_a_name_is_deterministic_and_bounded() -> None:
    assert blog().execution_name == "Blog: Researcher, Writer"
    long = blog(name="N" * 99).execution_name
    assert len(long) <= 100
    assert long.endswith("…")


nodes = st.sampled_from("abcdefg")
graphs = st.dictionaries(nodes, st.lists(nodes, max_size=3).map(tuple), max_size=7)


@given(graphs)
def test_what_is_in_no_cycle_can_be_walked_to_its_end(links: dict[str, tuple[str, ...]]) -> None:
    closed = {**{name: () for before in links.values() for name in before}, **links}
    done: set[str] = set()
    while ready := {node for node, before in closed.items() if node not in done and done.issuperset(before)}:
        done |= ready
    assert set(graph.cycle(closed)) == closed.keys() - done


@given(graphs)
def test_ancestors_are_what_has_to_be_done_before(links: dict[str, tuple[str, ...]]) -> None:
    for node in links:
        near = set(links[node])
        assert near <= graph.ancestors(links, node)
        for other in near:
            assert graph.ancestors(links, other) <= graph.ancestors(links, node)


def test_the_last_node_is_one_that_nothing_follows() -> None:
    links = {"a": (), "b": ("a",), "c": ("a",)}
    assert graph.last_of(links, "abc") == "c"
    assert graph.last_of(links, "ab") == "b"
    assert graph.last_of(links, "") is None


def test_a_concurrency_key_is_made_of_inputs() -> None:
    assert found(blog(concurrency=Concurrency(limit=1, key="{topic}"))) == {}
    assert found(blog(concurrency=Concurrency(limit=1, key="{customer}"))).keys() == {"/concurrency/key"}
