"""Planning: one model call before the first task, whose plans become part of the tasks' descriptions.

Called by the engine when a crew asks for it. Its one rule: CrewAI's own planner prints its tools' objects
into the prompt, memory addresses and all; this one names them, so that the journal knows the plan again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from infrastructure.crew.schemas import output_model
from infrastructure.crew.tasks import ReportedTask
from infrastructure.llm.reported import ReportedModel

LANE = "(planning)"
"""No task has such a name."""


def plans_of(count: int) -> type[BaseModel]:
    """The answer that is asked for: a plan for each of so many tasks."""
    item = {
        "type": "object",
        "properties": {
            "task_number": {"type": "integer", "minimum": 1, "maximum": count},
            "plan": {"type": "string"},
        },
        "required": ["task_number", "plan"],
    }
    plans = {"type": "array", "items": item, "minItems": 1}
    return output_model("Plans", {"type": "object", "properties": {"plans": plans}, "required": ["plans"]})


def plan(tasks: Sequence[ReportedTask], planner: ReportedModel) -> None:
    """Add to each task what the model planned for it. On a worker thread; raises `GaveUp`."""
    asked = plans_of(len(tasks))
    answer: Any = planner.call(question(tasks, asked), response_model=asked)
    plans: dict[int, str] = {}
    for item in answer.plans:
        plans.setdefault(item["task_number"], item["plan"])
    for number, task in enumerate(tasks, 1):
        if number in plans:
            task.description += f"\n\nPlan:\n{plans[number]}"


def question(tasks: Sequence[ReportedTask], asked: type[BaseModel]) -> list[dict[str, Any]]:
    summary = "\n\n".join(summary_of(number, task) for number, task in enumerate(tasks, 1))
    ask = (
        "You plan the work of a crew of agents. Write for each of the tasks below a step by step plan by "
        "which its agent reaches the task's goal with the tools that it has.\n\n"
        f"{summary}\n\n"
        "Answer with one JSON document that is valid under this JSON Schema: "
        f"{json.dumps(asked.model_json_schema())}"
    )
    return [{"role": "user", "content": ask}]


def summary_of(number: int, task: ReportedTask) -> str:
    tools = ", ".join(tool.name for tool in task.agent.tools) or "none"
    return (
        f"Task {number}: {task.description}\nExpected output: {task.expected_output}\n"
        f"Agent: {task.agent.role}\nGoal of the agent: {task.agent.goal}\nTools: {tools}"
    )
