"""Slots: how many executions of one concurrency key may be under way, and which of those that wait is next.

One stream for each workflow and key. Commands come from the dispatcher, which saw executions held and ended;
each may come twice, and late. Who holds a slot is decided here alone, so the limit is never exceeded, however
many dispatchers and runners there are.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

import msgspec

from domain.message import Aggregate, Command, Event

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


class ChangeSlots(Command, frozen=True, tag="ChangeSlots"):
    """From the dispatcher: who wants a slot, and who needs none any more."""

    slots_id: str
    requests: tuple[SlotRequest, ...] = ()
    returns: tuple[str, ...] = ()

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


SlotsCommands: TypeAlias = ChangeSlots
SlotsEvents: TypeAlias = SlotsRequested | SlotsGranted | SlotsReturned


# --- state


class Slots(msgspec.Struct, frozen=True):
    """limit: of the execution that was started last. waiting: by execution."""

    limit: int = 0
    newest: int = 0
    holders: frozenset[str] = frozenset()
    waiting: dict[str, SlotRequest] = {}


# --- decide and evolve


def decide(state: Slots, command: SlotsCommands) -> tuple[SlotsEvents, ...]:
    events: list[SlotsEvents] = []
    new = {
        request.execution_id: request
        for request in command.requests
        if not knows(state, request.execution_id)
    }
    if new:
        events.append(SlotsRequested(requests=tuple(new.values())))
        state = evolve(state, events[-1])
    gone = tuple(dict.fromkeys(each for each in command.returns if knows(state, each)))
    if gone:
        events.append(SlotsReturned(executions=gone))
        state = evolve(state, events[-1])
    if free := max(0, state.limit - len(state.holders)):
        first = sorted(state.waiting.values(), key=lambda request: request.rank)[:free]
        if first:
            events.append(SlotsGranted(executions=tuple(request.execution_id for request in first)))
    return tuple(events)


def knows(state: Slots, execution_id: str) -> bool:
    return execution_id in state.holders or execution_id in state.waiting


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
            return msgspec.structs.replace(
                state, holders=state.holders.union(executions), waiting=without(state.waiting, executions)
            )
        case SlotsReturned(executions=executions):
            return msgspec.structs.replace(
                state,
                holders=state.holders.difference(executions),
                waiting=without(state.waiting, executions),
            )
        case _:
            assert_never(event)


def without(waiting: dict[str, SlotRequest], executions: tuple[str, ...]) -> dict[str, SlotRequest]:
    gone = frozenset(executions)
    return {each: request for each, request in waiting.items() if each not in gone}


SLOTS = Aggregate(
    category="slots",
    initial=Slots(),
    decide=decide,
    evolve=evolve,
    commands=(ChangeSlots,),
    events=(SlotsRequested, SlotsGranted, SlotsReturned),
)
