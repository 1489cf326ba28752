"""People answer a waiting execution: many at once, with edits and payloads that are held against schemas."""

from __future__ import annotations

import asyncio

import pytest

from application.answering import decide_approval, send_signal
from application.ports import Assignment
from domain.definition import Definition, Signal, Step
from domain.errors import Invalid, KasalError, Rejected
from domain.execution import Status
from domain.execution.approvals import digest_of
from domain.execution.rules.asking import shown_outputs
from tests.application.house import ME, House, PlainEngine
from tests.domain.flows import crew, flow, gate
from tests.waiting import eventually

ASKING = flow(
    risk=crew("risk"),
    draft=crew("draft"),
    gate=gate(("risk", "draft")),
    publish=crew("publish", ("gate",)),
)


async def waiting(house: House, definition: Definition) -> str:
    """An execution that waits; the digest of what its gate shows."""
    await house.start("x", definition)

    async def is_waiting() -> bool:
        return (await house.state("x")).status is Status.WAITING

    async with house.running(house.dispatcher().run(), house.runner("r", PlainEngine()).run()):
        await eventually(is_waiting)
    return digest_of("Send this?", shown_outputs(await house.state("x"), "gate"))


async def test_of_twenty_approvals_at_once_one_has_an_effect() -> None:
    house = House()
    digest = await waiting(house, ASKING)
    version = len(await house.log.read_stream("execution-x"))
    wishes = [
        decide_approval("x", "1-gate", "approve", digest=digest, approver=f"person-{n}") for n in range(20)
    ]
    outcomes = await asyncio.gather(
        *(house.commands.handle(wish, ME) for wish in wishes), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
    assert (len(outcomes), len(refused)) == (20, 19)
    tags = [event.tag for event in await house.log.read_stream("execution-x", after_version=version)]
    assert tags == ["execution.approval_given", "execution.step_resolved", "execution.step_scheduled"]


async def test_an_approval_that_was_left_for_a_restart_of_everything_goes_on() -> None:
    house = House()
    digest = await waiting(house, ASKING)
    await house.queue.lose()
    ran: list[str] = []

    async def seen(assignment: Assignment, task: str) -> None:
        ran.append(task)

    async def is_ended() -> bool:
        return not (await house.state("x")).is_open

    dispatcher = house.dispatcher(runners_are_gone=True)
    async with house.running(dispatcher.run(), house.runner("r2", PlainEngine(seen)).run()):
        wish = decide_approval("x", "1-gate", "approve", digest=digest, approver="lead")
        await house.commands.handle(wish, ME)
        await eventually(is_ended)
    assert (ran, (await house.state("x")).status) == (["publish"], Status.COMPLETED)


@pytest.mark.parametrize(
    ("edits", "pointer", "says"),
    [
        ({"risk": {"score": "high"}}, "/edits/risk/score", "number"),
        ({"draft": {"a": 1}}, "/edits/draft", "expected a text"),
        ({"nobody": "x"}, "/edits/nobody", "unknown output 'nobody'; expected one of: risk, draft"),
        ({"draft": "x" * 70_000}, "/edits", "expected at most 65536"),
    ],
)
async def test_a_wrong_edit_is_named(edits: dict[str, object], pointer: str, says: str) -> None:
    house = House()
    digest = await waiting(house, ASKING)
    wish = decide_approval("x", "1-gate", "approve", digest=digest, approver="me", edits=edits)
    with pytest.raises(Invalid) as caught:
        await house.commands.handle(wish, ME)
    assert says in {fault.pointer: fault.message for fault in caught.value.faults}[pointer]


async def test_edits_belong_to_an_approval() -> None:
    house = House()
    digest = await waiting(house, ASKING)
    wish = decide_approval("x", "1-gate", "reject", digest=digest, approver="me", edits={"draft": "x"})
    with pytest.raises(Invalid, match="expected none beside reject"):
        await house.commands.handle(wish, ME)


async def test_a_payload_is_held_against_its_schema() -> None:
    house = House()
    signal = Step(signal=Signal(payload_schema="Risk"))
    await house.start("x", flow(answer=signal, a=crew("a", ("answer",))))
    with pytest.raises(Invalid, match="/payload/score"):
        await house.commands.handle(send_signal("x", "answer", {"score": "x"}, by="me"), ME)
    await house.commands.handle(send_signal("x", "answer", {"score": 1}, by="me"), ME)
    assert (await house.state("x")).outputs["answer"].structured == {"score": 1}


@pytest.mark.parametrize("approval", ["1-gate", "9-gate"])
async def test_an_answer_to_nothing_is_refused(approval: str) -> None:
    wish = decide_approval("nobody", approval, "approve", digest="0" * 64, approver="me")
    with pytest.raises(KasalError, match="no execution 'nobody'"):
        await House().commands.handle(wish, ME)
