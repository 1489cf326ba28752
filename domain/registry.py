"""All aggregates, and the way from stored bytes to an event.

Called wherever events are read. Its one rule: a tag that this release does not know raises, and is never
skipped.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from domain.catalog import CATALOG, CatalogCommands, CatalogEvents
from domain.errors import UnknownEvent
from domain.execution import EXECUTION, ExecutionCommands, ExecutionEvents
from domain.message import Event, Recorded, tag_of
from domain.schedule import SCHEDULE, ScheduleCommands, ScheduleEvents
from domain.slots import SLOTS, SlotsCommands, SlotsEvents
from domain.spending import SPENDING, SpendingCommands, SpendingEvents
from domain.subscription import SUBSCRIPTION, SubscriptionCommands, SubscriptionEvents
from domain.workflow import WORKFLOW, WorkflowCommands, WorkflowEvents

AnyEvent: TypeAlias = (
    CatalogEvents
    | WorkflowEvents
    | ExecutionEvents
    | SlotsEvents
    | ScheduleEvents
    | SpendingEvents
    | SubscriptionEvents
)
AnyCommand: TypeAlias = (
    CatalogCommands
    | WorkflowCommands
    | ExecutionCommands
    | SlotsCommands
    | ScheduleCommands
    | SpendingCommands
    | SubscriptionCommands
)
AGGREGATES = (CATALOG, WORKFLOW, EXECUTION, SLOTS, SCHEDULE, SPENDING, SUBSCRIPTION)

EVENT_TYPES: dict[str, type[Event]] = {
    tag_of(event): event for aggregate in AGGREGATES for event in aggregate.events
}
"""Every stored tag and its class."""

_DECODERS = {tag: msgspec.json.Decoder(event) for tag, event in EVENT_TYPES.items()}


def event_of(recorded: Recorded) -> Event:
    """The event of an envelope. Raises `UnknownEvent` for a tag or a body that this release can not read."""
    return decoded(recorded.tag, recorded.body, recorded.position)


def decoded(tag: str, body: bytes | msgspec.Raw, position: int) -> Event:
    """The event of a stored tag and body; `position` is for the error. Raises as `event_of` does."""
    try:
        return _DECODERS[tag].decode(body)
    except KeyError:
        raise UnknownEvent(f"position {position}: unknown event {tag!r}") from None
    except msgspec.DecodeError as error:
        raise UnknownEvent(f"position {position}: unreadable {tag!r}: {error}") from error
