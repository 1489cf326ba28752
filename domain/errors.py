"""Every error of the house, in one tree. `interfaces/problems.py` is the only place that turns one into HTTP.

KasalError
├── Invalid             what was sent is wrong; `faults` names each field
├── Rejected            the state of the aggregate forbids it now
│   ├── Draining        the attempt was told to let go: it may report outcomes, and begin nothing
│   ├── Held            the attempt before still reports its outcomes; claim again a little later
│   └── OverBudget      with what is wanted, a limit would be exceeded
├── Conflict            another command was first, three times over
├── PreconditionFailed  the version that the caller named (If-Match) is not the current one
├── NotFound            no such workflow, execution, entry
│   └── Archived        the execution was, and has left the read tables
├── KeyReused           an idempotency key came again with another request
├── TooLarge            an event or a body is beyond its bound
├── ConditionError      an expression can not be read, or not be worked out on the values at hand
├── Unauthenticated     no or wrong credentials
├── UnknownEvent        a stored tag that this release does not know: stop, never skip
└── Unavailable         try again after `retry_after_s`; nothing was done
    ├── LogFull         the appender's queue is full
    ├── LogUnavailable  the event log can not be reached
    └── NotCaughtUp     a projection did not reach the asked position in time
"""

from __future__ import annotations

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """One fault of a request: where (RFC 6901 JSON pointer, "" for the whole) and what was expected there."""

    pointer: str
    message: str


class KasalError(Exception):
    """The root: `str(error)` is a sentence for the person who made the request."""


class Invalid(KasalError):
    """What was sent is wrong. `faults` holds every fault found, not only the first."""

    def __init__(self, message: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


class Rejected(KasalError):
    """`CancelExecution is not allowed while completed`: what was attempted and what forbade it."""


class Draining(Rejected):
    """The attempt may report how calls in flight ended, and begin nothing."""


class OverBudget(Rejected):
    """With what is wanted, a limit would be exceeded."""


class Held(Rejected):
    """The step is claimed while the attempt before it lets go."""


class Conflict(KasalError):
    """Another command changed the stream, or one it was decided on, first."""


class PreconditionFailed(KasalError):
    """The caller's expected version is not the current one."""

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        super().__init__(f"{stream} is at version {actual}, not {expected}")
        self.expected = expected
        self.actual = actual


class NotFound(KasalError):
    """There is nothing by that name."""


class Archived(NotFound):
    """The execution has left the read tables; the message says where it went."""


class KeyReused(KasalError):
    """The idempotency key was used before with another request."""


class TooLarge(KasalError):
    """Beyond its bound; the message names the bound in bytes."""


class ConditionError(KasalError):
    """An expression that can not be read, or not be worked out. column: 1.. of its text, or 0."""

    def __init__(self, message: str, column: int = 0) -> None:
        super().__init__(f"{message} (column {column})" if column else message)
        self.column = column


class Unauthenticated(KasalError):
    """No credentials, or wrong ones."""


class UnknownEvent(KasalError):
    """A stored tag that this release does not know."""


class Unavailable(KasalError):
    """Nothing was done; try again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LogFull(Unavailable):
    """The appender's queue is full."""


class LogUnavailable(Unavailable):
    """The event log can not be reached."""


class NotCaughtUp(Unavailable):
    """A projection has not reached the position that was asked for."""
