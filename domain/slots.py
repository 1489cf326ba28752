"""Slots: how many executions of one concurrency key may be under way, and which of those that wait is next.

One stream for each workflow and key. Commands come from the dispatcher, which saw executions held and ended;
each may come twice, and late. Who holds a slot is decided here alone, so the limit is never exceeded, however
many dispatchers and runners there are.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar, assert_never

import msgspec
from msgspec.structs import replace

from domain.message import Aggregate, Command, Event

T = TypeVar("T")

# --- commands


class SlotRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """An execution that wants a slot. order: the position at which it was held; limit: of its document."""

    execution_id: str
    order: int
    limit: int
    priority: int = 5

    @property
    def rank(self) -> tuple[int, int]:
        """The lowest goes first: by priority, then by start."""
        return (-self.priority, self.order)


class SlotReturn(msgspec.Struct, frozen=True):
    """An execution that has ended. order: the position of its end: a request behind that is not meant."""

    execution_id: str
    order: int


class ChangeSlots(Command, frozen=True, tag="ChangeSlots"):
    """From the dispatcher: who wants a slot, and who needs none any more."""

    slots_id: str
    requests: tuple[SlotRequest, ...] = ()
    returns: tuple[SlotReturn, ...] = ()

    @property
    def stream(self) -> str:
        return f"slots-{self.slots_id}"


# --- events


class SlotsRequested(Event, frozen=True, tag="slots.requested"):
    requests: tuple[SlotRequest, ...]


class SlotsGranted(Event, frozen=True, tag="slots.granted"):
    """These executions may begin."""

    executions: tuple[str, ...]


class SlotsReturned(Event, frozen=True, tag="slots.returned"):
    """These executions neither hold nor want a slot any more."""

    executions: tuple[str, ...]


class SlotsSummedUp(Event, frozen=True, tag="slots.summed_up"):
    """What all events up to here come to, so that the stream can be read from here. As `Slots` is."""

    limit: int
    newest: int
    holders: dict[str, int] = {}
    waiting: tuple[SlotRequest, ...] = ()


SlotsCommands: TypeAlias = ChangeSlots
SlotsEvents: TypeAlias = SlotsRequested | SlotsGranted | SlotsReturned | SlotsSummedUp


# --- state


class Slots(msgspec.Struct, frozen=True):
    """limit: of the execution that was started last. holders: the order of each one's request."""

    limit: int = 0
    newest: int = 0
    holders: dict[str, int] = {}
    waiting: dict[str, SlotRequest] = {}

    def order_of(self, execution_id: str) -> int:
        """Of the request that it holds a slot by, or waits with; 0 when there is none."""
        waiting = self.waiting.get(execution_id)
        return waiting.order if waiting else self.holders.get(execution_id, 0)


# --- decide and evolve


def decide(state: Slots, command: SlotsCommands) -> tuple[SlotsEvents, ...]:
    """A request behind an earlier one of an execution, which was retried, takes the earlier one's place."""
    events: list[SlotsEvents] = []
    ends = {each.execution_id: each.order for each in command.returns}
    new = {
        each.execution_id: each
        for each in sorted(command.requests, key=lambda request: request.order)
        if each.order > max(state.order_of(each.execution_id), ends.get(each.execution_id, 0))
    }
    ended = [execution_id for execution_id, order in ends.items() if order > state.order_of(execution_id)]
    gone = tuple(each for each in dict.fromkeys([*ended, *new]) if state.order_of(each))
    if gone:
        events.append(SlotsReturned(executions=gone))
        state = evolve(state, events[-1])
    if new:
        events.append(SlotsRequested(requests=tuple(new.values())))
        state = evolve(state, events[-1])
    if free := max(0, state.limit - len(state.holders)):
        first = sorted(state.waiting.values(), key=lambda request: request.rank)[:free]
        if first:
            events.append(SlotsGranted(executions=tuple(request.execution_id for request in first)))
    return tuple(events)


def evolve(state: Slots, event: SlotsEvents) -> Slots:
    match event:
        case SlotsRequested(requests=requests):
            last = max(requests, key=lambda request: request.order)
            is_newer = last.order >= state.newest
            return Slots(
                limit=last.limit if is_newer else state.limit,
                newest=max(last.order, state.newest),
                holders=state.holders,
                waiting={**state.waiting, **{request.execution_id: request for request in requests}},
            )
        case SlotsGranted(executions=executions):
            granted = {each: state.waiting[each].order for each in executions}
            holders = {**state.holders, **granted}
            return replace(state, holders=holders, waiting=without(state.waiting, executions))
        case SlotsReturned(executions=executions):
            return replace(
                state,
                holders=without(state.holders, executions),
                waiting=without(state.waiting, executions),
            )
        case SlotsSummedUp(limit=limit, newest=newest, holders=holders, waiting=waiting):
            return Slots(limit, newest, holders, {request.execution_id: request for request in waiting})
        case _:
            assert_never(event)


def sum_up(state: Slots) -> SlotsSummedUp:
    return SlotsSummedUp(
        limit=state.limit, newest=state.newest, holders=state.holders, waiting=tuple(state.waiting.values())
    )


def without(known: dict[str, T], executions: tuple[str, ...]) -> dict[str, T]:
    gone = frozenset(executions)
    return {each: value for each, value in known.items() if each not in gone}


SLOTS = Aggregate(
    category="slots",
    initial=Slots(),
    decide=decide,
    evolve=evolve,
    commands=(ChangeSlots,),
    events=(SlotsRequested, SlotsGranted, SlotsReturned, SlotsSummedUp),
    sum_up=sum_up,
)
