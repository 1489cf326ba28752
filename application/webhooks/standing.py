"""How the delivery of one webhook stands, from the progress that its courier saves.

Called by HTTP. Its one rule: it is as the courier saved it: within a second of what it did, ten seconds of
what it only read.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from application.webhooks.progress import Progress


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """
    position           everything up to it was taken by the endpoint, given up, or is not wanted; null before
                       anything was delivered or looked at
    lag                events of the whole log behind it
    waiting            executions of which an event has not been taken yet
    failures           attempts that failed, of the events that wait
    failing_since      when the first of those attempts was made
    next_try_at        when the next of them is due; null where none has failed
    last_taken_at      when the endpoint last took something
    """

    position: int | None
    lag: int
    waiting: int = 0
    failures: int = 0
    failing_since: datetime | None = None
    next_try_at: datetime | None = None
    last_taken_at: datetime | None = None


def delivery_of(saved: bytes, head: int) -> Delivery:
    """saved: the courier's progress, b"" for none. head: the log's last position."""
    if not saved:
        return Delivery(position=None, lag=head)
    progress = msgspec.json.decode(saved, type=Progress)
    lanes = progress.lanes.values()
    position = min([progress.at, *(lane.position - 1 for lane in lanes)])
    failing = [lane for lane in lanes if lane.attempts]
    return Delivery(
        position=position,
        lag=max(0, head - position),
        waiting=len(lanes),
        failures=sum(lane.attempts for lane in failing),
        failing_since=moment(min((lane.since for lane in failing), default=0)),
        next_try_at=moment(min((lane.next_at for lane in failing), default=0)),
        last_taken_at=moment(progress.last_taken),
    )


def moment(unix_s: float) -> datetime | None:
    return datetime.fromtimestamp(unix_s, UTC) if unix_s else None
