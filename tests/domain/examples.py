"""Documents that tests of every floor start from."""

from __future__ import annotations

from domain.definition import Agent, Crew, Definition, Join, Limits, Step, Task

WRITER = Agent(role="Writer", goal="Write", backstory="Plain words", model="demo/small")


def blog(**changes: object) -> Definition:
    """Three tasks in one crew; inputs topic and tone."""
    fields: dict[str, object] = {
        "name": "Blog",
        "inputs": {"topic": {"type": "string"}, "tone": {"type": "string", "default": "plain"}},
        "agents": {
            "researcher": Agent(
                role="Researcher", goal="Find facts", backstory="Ten years", model="demo/small"
            ),
            "writer": WRITER,
        },
        "tasks": {
            "research": Task(description="Research {topic}", expected_output="facts", agent="researcher"),
            "draft": Task(
                description="Write about {topic}, {tone}",
                expected_output="a post",
                agent="writer",
                context=("research",),
            ),
            "edit": Task(
                description="Edit",
                expected_output="a better post",
                agent="writer",
                context=("research", "draft"),
            ),
        },
    }
    return Definition(**{**fields, **changes})  # type: ignore[arg-type]


def diamond(max_attempts: int = 3) -> Definition:
    """Four steps: first, then left and right side by side, then last after both."""
    tasks = {
        name: Task(description="Do", expected_output="done", agent="writer")
        for name in ("one", "two", "three", "four")
    }
    return Definition(
        name="Diamond",
        agents={"writer": WRITER},
        tasks=tasks,
        steps={
            "first": Step(crew=Crew(tasks=("one",))),
            "left": Step(crew=Crew(tasks=("two",)), after=("first",)),
            "right": Step(crew=Crew(tasks=("three",)), after=("first",)),
            "last": Step(crew=Crew(tasks=("four",)), after=Join(all=("left", "right"))),
        },
        limits=Limits(max_attempts=max_attempts),
    )
