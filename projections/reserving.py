"""What calls under way can come to, as read models show it.

Used by `execution_detail` and `usage`. Its one rule: it follows `domain.execution.budget`, which decides.
"""

from __future__ import annotations

import msgspec

from domain.execution import (
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    StepCompleted,
    StepFailed,
)
from domain.message import Event
from projections.money import usd
from projections.projection import tags

RESERVING = tags(ModelCallStarted, ModelCallCompleted, ModelCallFailed, StepCompleted, StepFailed)


class Reserved(msgspec.Struct):
    """For one call, until it is answered."""

    step: str
    model: str
    tokens: int
    cost_usd: float


def reserved_by(event: ModelCallStarted) -> Reserved:
    estimate = event.estimate
    tokens, cost_usd = (estimate.tokens, estimate.cost_usd) if estimate else (0, None)
    return Reserved(event.step, event.model, tokens, cost_usd or 0.0)


def reserve(reserved: dict[str, Reserved], event: Event) -> None:
    """Change what is reserved, by call, as an event of `RESERVING` does."""
    match event:
        case ModelCallStarted():
            reserved[event.call] = reserved_by(event)
        case ModelCallCompleted() | ModelCallFailed():
            reserved.pop(event.call, None)
        case StepCompleted() | StepFailed():
            for call in [call for call, each in reserved.items() if each.step == event.step]:
                del reserved[call]


def totals(reserved: dict[str, Reserved]) -> tuple[int, float]:
    """Tokens, and USD."""
    tokens = sum(each.tokens for each in reserved.values())
    return tokens, usd(sum(each.cost_usd for each in reserved.values()))
