"""Child workflows over HTTP: what is refused when a document is saved or started, and shown lineage."""

from __future__ import annotations

from typing import Any

from application.children import Children, OpenChild
from domain.amounts import Amounts
from domain.execution import ReportChild, TaskOutput, child_execution_id
from projections.open_children import open_children
from projections.positions import wait_for
from tests.interfaces.stack import SYSTEM, Stack

WAIT = {"Prefer": "wait=10"}


def document(workflow_id: str, **fields: Any) -> dict[str, Any]:
    """A workflow without tasks of its own: it runs another, whose industry it is told."""
    step = {"workflow_id": workflow_id, "inputs": {"industry": "inputs.field"}, **fields}
    inputs = {"field": {"type": "string"}, "count": {"type": "integer", "default": 1}}
    return {"name": "Outer", "inputs": inputs, "steps": {"sub": {"workflow": step}}}


async def saved(stack: Stack, body: dict[str, Any]) -> str:
    answer = await stack.client.post("/v1/workflows", json=body, headers=WAIT)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def faults(stack: Stack, body: dict[str, Any], *, put: str = "") -> dict[str, str]:
    if put:
        answer = await stack.client.put(f"/v1/workflows/{put}", json=body)
    else:
        answer = await stack.client.post("/v1/workflows", json=body)
    assert answer.status_code == 422, answer.text
    return {error["pointer"]: error["message"] for error in answer.json()["errors"]}


AT = "/steps/sub/workflow"


async def test_a_workflow_that_is_not_there_or_is_archived_is_refused(stack: Stack) -> None:
    [(at, message)] = (await faults(stack, document("nobody"))).items()
    assert (at, message) == (
        f"{AT}/workflow_id",
        "there is no workflow 'nobody'; expected the id of a saved one",
    )
    inner = await stack.workflow()
    [(at, message)] = (await faults(stack, document(inner, workflow_version=7))).items()
    assert at == f"{AT}/workflow_version"
    assert message.endswith("expected one of: 1")
    await stack.client.post(f"/v1/workflows/{inner}/archive")
    [(at, message)] = (await faults(stack, document(inner))).items()
    assert at == f"{AT}/workflow_id"
    assert "archived" in message


async def test_inputs_are_held_against_those_of_the_workflow(stack: Stack) -> None:
    inner = await stack.workflow()
    assert (await faults(stack, document(inner, inputs={}))).keys() == {f"{AT}/inputs/industry"}
    for given in ("inputs.count", 3, "inputs.nothing", "inputs.", ["a"]):
        assert (await faults(stack, document(inner, inputs={"industry": given}))).keys() == {
            f"{AT}/inputs/industry"
        }
    wrong = document(inner, inputs={"industry": "'tea'", "other": "1"})
    assert (await faults(stack, wrong)).keys() == {f"{AT}/inputs/other"}
    await saved(stack, document(inner, inputs={"industry": "'tea'"}))


async def test_the_same_holds_for_a_map_over_a_workflow(stack: Stack) -> None:
    inner = await stack.workflow()
    step = {"workflow_id": inner, "inputs": {"industry": "item"}}
    body: dict[str, Any] = {"name": "Outer", "steps": {"sub": {"map": {"over": "['tea']", "workflow": step}}}}
    await saved(stack, body)
    at = "/steps/sub/map/workflow"
    step["inputs"] = {"industry": "item_index"}
    assert (await faults(stack, body)).keys() == {f"{at}/inputs/industry"}
    step["inputs"] = {"industry": 3}
    assert (await faults(stack, body)).keys() == {f"{at}/inputs/industry"}
    step["workflow_id"] = "nobody"
    assert (await faults(stack, body)).keys() == {f"{at}/workflow_id"}
    body["steps"]["sub"]["map"]["on_failure"] = "continue"
    assert (await faults(stack, body))["/steps/sub/map/on_failure"] == "expected it within workflow"


async def test_no_workflow_contains_itself(stack: Stack) -> None:
    inner = await stack.workflow()
    outer = await saved(stack, document(inner))
    assert "itself" in (await faults(stack, document(outer), put=outer))[f"{AT}/workflow_id"]
    back = document(outer, inputs={"field": "inputs.field"})
    [(at, message)] = (await faults(stack, back, put=inner)).items()
    assert at == f"{AT}/workflow_id"
    assert "which would contain itself" in message


async def test_nor_are_they_nested_without_end(stack: Stack) -> None:
    inner = await saved(stack, document(await stack.workflow()))
    for _ in range(5):
        inner = await saved(stack, document(inner, inputs={"field": "inputs.field"}))
    outer = await saved(stack, document(inner, inputs={"field": "inputs.field"}))
    [(at, message)] = (await faults(stack, document(outer, inputs={"field": "inputs.field"}))).items()
    assert (at, message) == (
        f"{AT}/workflow_id",
        "9 executions would be within each other; expected at most 8",
    )


async def test_what_can_not_be_run_any_more_is_refused_at_the_start(stack: Stack) -> None:
    inner = await stack.workflow()
    outer = await saved(stack, document(inner))
    await stack.client.post(f"/v1/workflows/{inner}/archive")
    start = {"workflow_id": outer, "inputs": {"field": "tea"}}
    answer = await stack.client.post("/v1/executions", json=start)
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["pointer"]) == (422, "/workflow_id")
    assert error["message"].startswith("its /steps/sub/workflow/workflow_id workflow")
    inline = {"definition": document(inner), "inputs": {"field": "tea"}}
    answer = await stack.client.post("/v1/executions", json=inline)
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["pointer"]) == (422, f"/definition{AT}/workflow_id")


async def dispatched(stack: Stack) -> None:
    """What a dispatcher that starts now finds in the read tables is done."""
    await wait_for(stack.read, ["open_children"], await stack.log.head(), 30)
    rows = await open_children(stack.read)
    children = [OpenChild(row.tenant, row.parent_id, row.child) for row in rows]
    await Children(stack.commands).recover(children)


async def test_lineage_is_shown_and_can_be_asked_for(stack: Stack) -> None:
    outer = await saved(stack, document(await stack.workflow()))
    parent = await stack.execution(outer, inputs={"field": "tea"})
    await dispatched(stack)
    child_id = child_execution_id(parent["id"], "1-sub")
    head = await stack.log.head()
    child = (await stack.client.get(f"/v1/executions/{child_id}?after={head}")).json()
    assert child["parent"] == {"execution_id": parent["id"], "step": "sub"}
    assert child["inputs"]["industry"] == "tea"
    listed = (await stack.client.get(f"/v1/executions?parent={parent['id']}&after={head}")).json()["items"]
    assert [(item["id"], item["parent"]["step"]) for item in listed] == [(child_id, "sub")]
    found = (await stack.client.get(f"/v1/executions/{parent['id']}?after={head}")).json()
    assert (found["status"], found["parent"], found["steps"][0]["child"]) == ("WAITING", None, child_id)
    assert [(wait["kind"], wait["id"]) for wait in found["waits"]] == [("child", child_id)]


async def test_what_children_have_spent_is_shown_with_their_parent(stack: Stack) -> None:
    outer = await saved(stack, document(await stack.workflow()))
    parent = await stack.execution(outer, inputs={"field": "tea"})
    ended = ReportChild(
        execution_id=parent["id"],
        child="1-sub",
        status="completed",
        output=TaskOutput("done"),
        spent=Amounts(nano_usd=250_000_000, tokens=120, model_calls=2, tool_calls=1),
    )
    outcome = await stack.commands.handle(ended, SYSTEM)
    path = f"/v1/executions/{parent['id']}?after={outcome.position}"
    found = (await stack.client.get(path)).json()
    assert (found["status"], found["output"]["text"], found["waits"]) == ("COMPLETED", "done", [])
    assert [found[f"children_{name}"] for name in ("usd", "tokens", "model_calls", "tool_calls")] == [
        0.25,
        120,
        2,
        1,
    ]
    assert found["cost_usd"] == 0
