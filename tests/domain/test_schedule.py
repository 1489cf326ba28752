"""What becomes of a slot: run, queued, skipped, missed; and never twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from domain.errors import NotFound, Rejected
from domain.plan import Plan
from domain.schedule import (
    SCHEDULE,
    CreateSchedule,
    DeleteSchedule,
    FailRun,
    ReviseSchedule,
    RunFailed,
    Schedule,
    ScheduleCreated,
    ScheduleDeleted,
    ScheduleRevised,
    ScheduleSummedUp,
    SlotsDecided,
    TakeSlots,
    evolve,
    execution_id_of,
    schedule_of,
    sum_up,
)
from tests.domain.spec import Spec

PLAN = Plan(name="Nightly", workflow_id="blog", cron="0 2 * * *")
BEGIN = datetime(2026, 11, 24, tzinfo=UTC)
ONE, TWO, THREE, FOUR = (BEGIN + timedelta(hours=hour) for hour in (1, 2, 3, 4))
spec = Spec(SCHEDULE)


def planned(**changes: object) -> Spec:  # type: ignore[type-arg]
    return spec.given(ScheduleCreated(plan=replace(PLAN, **changes), at=BEGIN, next_slot=ONE))


def take(*due: datetime, at: datetime | None = None, is_busy: bool = False, unseen: int = 0) -> TakeSlots:
    return TakeSlots(
        schedule_id="s",
        due=due,
        at=at or (due[-1] if due else FOUR),
        is_busy=is_busy,
        next_slot=FOUR,
        unseen=unseen,
    )


def ran(slot: datetime, **fields: Any) -> SlotsDecided:
    told = {"through": slot, "run": slot, "next_slot": FOUR, **fields}
    return SlotsDecided(execution_id=execution_id_of("s", slot), **told)


def test_the_run_of_a_slot_has_an_id_that_is_made_of_both() -> None:
    assert execution_id_of("s", ONE) == "s-20261124T010000Z"
    assert schedule_of("a-b-20261124T010000Z") == "a-b"
    assert schedule_of("0190-abc") is None


def test_a_slot_that_is_due_runs() -> None:
    planned().when(take(ONE)).then(ran(ONE))


def test_a_slot_that_is_decided_is_not_decided_again() -> None:
    planned().given(ran(ONE)).when(take(ONE)).then_nothing()
    planned().given(ran(TWO)).when(take(ONE, TWO)).then_nothing()


def test_while_the_run_before_goes_on_a_slot_is_skipped() -> None:
    busy = planned().given(ran(ONE)).when(take(TWO, is_busy=True))
    busy.then(SlotsDecided(through=TWO, skipped=(TWO,), next_slot=FOUR))


def test_or_queued_and_run_when_the_one_before_has_ended() -> None:
    running = planned(overlap="queue").given(ran(ONE))
    queued = SlotsDecided(through=TWO, queued=(TWO,), next_slot=FOUR)
    running.when(take(TWO, is_busy=True)).then(queued)
    running.given(queued).when(take(is_busy=True)).then_nothing()
    running.given(queued).when(take()).then(ran(TWO, through=None, from_queue=True))


def test_or_the_run_before_gives_way() -> None:
    running = planned(overlap="cancel").given(ran(ONE))
    running.when(take(TWO, is_busy=True)).then(ran(TWO, cancels=execution_id_of("s", ONE)))


def test_of_slots_that_passed_unnoticed_the_last_runs() -> None:
    planned().when(take(ONE, TWO, THREE, unseen=7)).then(ran(THREE, missed=9))


def test_or_none_unless_it_is_due_right_now() -> None:
    missed = SlotsDecided(through=TWO, missed=2, next_slot=FOUR)
    planned(catch_up="none").when(take(ONE, TWO, at=THREE)).then(missed)
    planned(catch_up="none").when(take(ONE, TWO)).then(ran(TWO, missed=1))


def test_or_all_one_after_the_other() -> None:
    sentence = planned(catch_up="all")
    first = ran(ONE, through=THREE, queued=(TWO, THREE))
    sentence.when(take(ONE, TWO, THREE)).then(first)
    second = ran(TWO, through=None, from_queue=True, queued=(THREE,))
    sentence.given(first).when(take()).then(second)


def test_a_schedule_that_is_off_or_deleted_decides_nothing() -> None:
    planned(enabled=False).when(take(ONE)).then_nothing()
    planned().given(ScheduleDeleted()).when(take(ONE)).then_nothing()


def test_a_revision_counts_from_now_on_and_drops_the_queue() -> None:
    queued = SlotsDecided(through=TWO, queued=(TWO,), next_slot=FOUR)
    plan = replace(PLAN, cron="0 3 * * *")
    sentence = planned(overlap="queue").given(ran(ONE), queued)
    revise = ReviseSchedule(schedule_id="s", plan=plan, at=THREE, next_slot=FOUR)
    revised = ScheduleRevised(plan=plan, at=THREE, next_slot=FOUR)
    sentence.when(revise).then(revised)
    sentence.given(revised).when(take(TWO, THREE)).then_nothing()


def test_the_same_plan_again_changes_nothing() -> None:
    planned().when(ReviseSchedule(schedule_id="s", plan=PLAN, at=TWO, next_slot=THREE)).then_nothing()


def test_a_run_that_can_not_be_begun_leaves_the_way_free() -> None:
    failed = RunFailed(execution_id=execution_id_of("s", ONE), message="archived")
    command = FailRun(schedule_id="s", execution_id=execution_id_of("s", ONE), message="archived")
    planned().given(ran(ONE)).when(command).then(failed)
    planned().given(ran(ONE), failed).when(command).then_nothing()
    assert planned().given(ran(ONE), failed).state().running is None


def test_what_is_not_there_is_not_found() -> None:
    create = CreateSchedule(schedule_id="s", plan=PLAN, at=BEGIN, next_slot=ONE)
    planned().when(create).then_refused(Rejected, "exists already")
    revise = ReviseSchedule(schedule_id="s", plan=PLAN, at=TWO, next_slot=THREE)
    spec.when(revise).then_refused(NotFound, "no schedule 's'")
    spec.when(DeleteSchedule(schedule_id="s")).then_refused(NotFound, "no schedule 's'")
    planned().given(ScheduleDeleted()).when(DeleteSchedule(schedule_id="s")).then_nothing()


def test_a_sum_makes_the_state_again() -> None:
    busy = planned(overlap="cancel").given(ran(ONE), ran(TWO, cancels=execution_id_of("s", ONE)))
    queued = planned(overlap="queue").given(ran(ONE), SlotsDecided(through=TWO, queued=(TWO,)))
    for state in (Schedule(), *(each.state() for each in (busy, queued, busy.given(ScheduleDeleted())))):
        body = msgspec.json.encode(sum_up(state))
        assert evolve(Schedule(), msgspec.json.decode(body, type=ScheduleSummedUp)) == state
