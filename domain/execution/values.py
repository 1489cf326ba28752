"""What events are made of: texts, failures, outputs, waits."""

from __future__ import annotations

from typing import Literal

import msgspec

from domain.definition import Json
from domain.terms import Moment


class Content(msgspec.Struct, frozen=True, omit_defaults=True):
    """A text that a call sent or received.

    digest        SHA-256 (hex) of the whole text, UTF-8
    size_bytes    of the whole text
    text          the text, or its beginning
    is_truncated  `text` is only the beginning
    is_stored     the whole text is in the content store, under its digest
    """

    digest: str
    size_bytes: int
    text: str
    is_truncated: bool = False
    is_stored: bool = False


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why something failed. code: stable, snake_case, for programs; message: for people."""

    code: str
    message: str
    task: str | None = None


class Estimate(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model call can come to. cost_usd: None for a model whose price nobody knows."""

    tokens: int
    cost_usd: float | None = None


class TaskOutput(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a task produced: its text and, where a schema was asked for, the instance of it.

    digest, size_bytes  of the whole text, where `text` is only its beginning; it is in the content store
    """

    text: str
    structured: Json = None
    digest: str = ""
    size_bytes: int = 0


class Wait(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a step does not go on, and what ends it.

    kind     decides which command ends the wait
    id       what that command names; unique within the execution
    message  for the person, or the page, that is asked
    for_s    ends by itself so long after it began (0: it does not), or
    until    at this moment
    others   further ids that are asked for at the same time; the step goes on when all are answered
    """

    kind: Literal["unknown_outcome", "budget", "human_input", "approval", "signal", "timer", "child"]
    id: str
    message: str = ""
    for_s: float = 0
    until: Moment | None = None
    others: tuple[str, ...] = ()

    def without(self, answered: str) -> Wait:
        """What is still waited for; the last stays until the step goes on."""
        rest = tuple(name for name in (self.id, *self.others) if name != answered)
        return msgspec.structs.replace(self, id=rest[0], others=rest[1:]) if rest else self
