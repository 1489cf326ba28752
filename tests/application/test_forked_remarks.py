"""What people said who sent work back, in forks: told again where the fork begins after it."""

from __future__ import annotations

from typing import Any

from application.forks import fork_execution
from application.overrides import Overrides
from application.ports import Assignment
from domain.execution import ApprovalRejected, DecideApproval, Status, StepCompleted
from domain.execution.approvals import digest_of
from domain.execution.rules.asking import shown_outputs
from domain.message import tag_of
from tests.application.house import ME, House, PlainEngine
from tests.domain.flows import crew, flow, gate
from tests.waiting import eventually


class Told:
    """A house whose runner notes what each execution's `draft` is told of earlier results."""

    def __init__(self) -> None:
        self.house = House()
        self.remarks: dict[str, list[tuple[str, ...]]] = {}

    async def note(self, assignment: Assignment, task: str) -> None:
        if task == "draft":
            self.remarks.setdefault(assignment.execution_id, []).append(assignment.remarks)

    async def asks(self, execution_id: str, number: int) -> None:
        """Until its approval is asked for, the number-th time."""

        async def is_so() -> bool:
            state = await self.house.state(execution_id)
            return state.status is Status.WAITING and f"{number}-gate" in state.approvals

        await eventually(is_so)

    async def send_back(self, execution_id: str, number: int, comment: str) -> None:
        state = await self.house.state(execution_id)
        approval = state.definition.graph["gate"].approval
        assert approval is not None
        wish = DecideApproval(
            execution_id=execution_id,
            approval_id=f"{number}-gate",
            decision="retry",
            digest=digest_of(approval.message, shown_outputs(state, "gate")),
            approver="ann",
            comment=comment,
        )
        await self.house.commands.handle(wish, ME)

    async def version_of(self, execution_id: str, event: Any, number: int = 0) -> int:
        events = await self.house.log.read_stream(f"execution-{execution_id}")
        return [one.version for one in events if one.tag == tag_of(event)][number]

    async def fork(self, name: str, of: str, at: int) -> None:
        await self.house.commands.handle(fork_execution(name, of, Overrides(), tenant="default", at=at), ME)


async def test_a_fork_is_told_what_was_said_before_it() -> None:
    told = Told()
    house = told.house
    await house.start("x", flow(draft=crew("draft"), gate=gate(("draft",)), send=crew("send", ("gate",))))
    runner = house.runner("r", PlainEngine(told.note))
    async with house.running(house.dispatcher().run(), runner.run()):
        await told.asks("x", 1)
        await told.send_back("x", 1, "shorter")
        await told.asks("x", 2)
        said = await told.version_of("x", ApprovalRejected)
        await told.fork("before", "x", said - 1)
        await told.fork("after", "x", said)
        await told.fork("later", "x", await told.version_of("x", StepCompleted, 1))
        for fork in ("before", "after", "later"):
            await told.asks(fork, 1)
        await told.fork("again", "after", 1)
        await told.asks("again", 1)
        await told.send_back("later", 1, "and kinder")
        await told.asks("later", 2)
    assert told.remarks == {
        "x": [(), ("shorter",)],
        "after": [("shorter",)],  # `before` and `later` have its output
        "again": [("shorter",)],
        "later": [("shorter", "and kinder")],
    }
