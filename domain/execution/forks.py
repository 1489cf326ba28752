"""Where a fork comes from: the execution and version it began at, and what of that past was edited.

Part of `ExecutionRequested`. Its one rule: what stands here is pinned when the fork is made; what happens to
the other execution afterwards does not reach it.
"""

from __future__ import annotations

import msgspec

from domain.catalog import Model


class Origin(msgspec.Struct, frozen=True):
    """The event that an outcome stands in: the execution whose stream it is, its version there, the call."""

    execution_id: str
    version: int
    call: str


class Edit(msgspec.Struct, frozen=True):
    """A call's result in the words of whoever forked: it takes the place of what was answered then."""

    origin: Origin
    result: str


class ForkedFrom(msgspec.Struct, frozen=True, omit_defaults=True):
    """The past of a fork: the events of `execution_id` up to the version `at`, that one included.

    tasks          that had completed by then: they are taken over as done
    edits          results of calls that were changed
    former_models  by agent: what its calls were asked of in that past, the nearest execution first, where it
                   is another model now; a call that differs in nothing else is answered from that past
    is_what_if     models are asked anew; tools are answered from that past alone, and never run
    remarks        by step, what was said by then when its result was sent back: who works on it is told again
    """

    execution_id: str
    at: int
    tasks: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()
    former_models: dict[str, tuple[Model, ...]] = {}
    is_what_if: bool = False
    remarks: dict[str, tuple[str, ...]] = {}
