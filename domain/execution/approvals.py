"""Approvals and signals: what is asked, shown, decided and sent. Part of `domain.execution.events`.

Its one rule: a decision names the digest of what was shown, so that nobody approves what they did not see.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from domain.definition import ITEM
from domain.execution.values import Failure, TaskOutput
from domain.message import Event
from domain.terms import Json


class Shown(msgspec.Struct, frozen=True, omit_defaults=True):
    """An output that an approval is about. is_cut: `output` holds the beginning of its text only."""

    step: str
    task: str
    output: TaskOutput
    is_cut: bool = False


class ApprovalRequested(Event, frozen=True, tag="execution.approval_requested"):
    """A person is asked. approval: its id within the execution; digest: SHA-256 (hex) of what is shown.

    approvals  how many have to agree
    """

    step: str
    approval: str
    message: str
    digest: str
    shown: tuple[Shown, ...] = ()
    approvers: tuple[str, ...] = ()
    approvals: int = 1
    require_comment: bool = False


class ApprovalGiven(Event, frozen=True, tag="execution.approval_given"):
    """One who may has agreed.

    edits   outputs that take the place of those shown, by task; the originals stay in their own events
    digest  of what is shown now, where edits have changed it: who comes next decides on that
    """

    step: str
    approval: str
    by: str
    comment: str = ""
    edits: dict[str, TaskOutput] = {}
    digest: str = ""


class ApprovalRejected(Event, frozen=True, tag="execution.approval_rejected"):
    """One who may has said no.

    then      the step that follows a rejection
    retried   steps that begin again, and then it is asked again
    remarked  those of them whose agents see the comment
    """

    step: str
    approval: str
    by: str
    comment: str = ""
    then: str | None = None
    retried: tuple[str, ...] = ()
    remarked: tuple[str, ...] = ()

    def sends_back(self, step: str) -> bool:
        """Whether the step, or the map that it is an item of, begins again."""
        return step in self.retried or step.rpartition(ITEM)[0] in self.retried


class SignalReceived(Event, frozen=True, tag="execution.signal_received"):
    """A message from outside; kept until a step has waited for it."""

    name: str
    payload: Json
    by: str


class StepResolved(Event, frozen=True, tag="execution.step_resolved"):
    """A step that no runner works on is done. output: what it gave.

    signal    the name of the one that it has taken
    approval  the one that was given
    failure   of its child, with which it goes on
    """

    step: str
    output: TaskOutput | None = None
    signal: str | None = None
    approval: str | None = None
    failure: Failure | None = None


class MapStarted(Event, frozen=True, tag="execution.map_started"):
    """The list of a map is pinned; its items are scheduled as steps of their own (`enrich--0`, ...).

    items  () too when a map goes on that was begun before, after its execution was retried
    """

    step: str
    items: tuple[Json, ...] = ()


def digest_of(message: str, shown: dict[str, TaskOutput]) -> str:
    """Of a message and the whole outputs that it is about, by task."""
    text = msgspec.json.encode({"message": message, "outputs": shown}, order="deterministic")
    return sha256(text).hexdigest()
