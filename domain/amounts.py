"""Amounts of money, tokens and calls, and the limits on them.

Used wherever budgets are held. Its one rule: money is counted in whole nano-dollars, so that sums are exact.
"""

from __future__ import annotations

import math
from typing import TypeVar

import msgspec

from domain.limits import Budget

NANO = 1_000_000_000

B = TypeVar("B", bound=Budget)


class Amounts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of money, tokens and calls; model and tool calls are counted when they begin."""

    nano_usd: int = 0
    tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0

    def plus(self, other: Amounts) -> Amounts:
        return Amounts(
            self.nano_usd + other.nano_usd,
            self.tokens + other.tokens,
            self.model_calls + other.model_calls,
            self.tool_calls + other.tool_calls,
        )

    def minus(self, other: Amounts) -> Amounts:
        return Amounts(
            self.nano_usd - other.nano_usd,
            self.tokens - other.tokens,
            self.model_calls - other.model_calls,
            self.tool_calls - other.tool_calls,
        )

    def times(self, count: int) -> Amounts:
        return Amounts(*(count * each for each in self.each))

    def at_least(self, other: Amounts) -> Amounts:
        """The larger of each."""
        return Amounts(*map(max, self.each, other.each))

    def covers(self, other: Amounts) -> bool:
        """Whether none of the other's is larger."""
        return all(mine >= theirs for mine, theirs in zip(self.each, other.each, strict=True))

    @property
    def each(self) -> tuple[int, int, int, int]:
        return (self.nano_usd, self.tokens, self.model_calls, self.tool_calls)


NOTHING = Amounts()


def nano(cost_usd: float) -> int:
    """Rounded up: what is spent is never counted as less."""
    return math.ceil(round(cost_usd * NANO, 3))


def bounds_of(limits: Budget) -> Amounts:
    """The limits as amounts; 0 for what has none."""
    return Amounts(
        nano(limits.budget_usd or 0),
        limits.max_tokens or 0,
        limits.max_model_calls or 0,
        limits.max_tool_calls or 0,
    )


def least(one: B, other: B) -> B:
    """The lower of each limit."""
    found: dict[str, float] = {}
    for name in one.__struct_fields__:
        limits = [limit for each in (one, other) if (limit := getattr(each, name)) is not None]
        if limits:
            found[name] = min(limits)
    return msgspec.convert(found, type(one))


def remaining(limits: Budget, amounts: Amounts) -> Budget | str:
    """What is left of each limit; or in words which one nothing is left of."""
    left = bounds_of(limits).minus(amounts)
    found: dict[str, float] = {}
    for name, exact in zip(Budget.__struct_fields__, left.each, strict=True):
        limit = getattr(limits, name)
        if limit is None:
            continue
        if exact <= 0:
            return f"{name} is {limit:g}; nothing is left of it"
        found[name] = exact / NANO if name == "budget_usd" else exact
    return msgspec.convert(found, Budget)


def excess(limits: Budget, amounts: Amounts, what: str = "this call") -> str | None:
    """The first limit that the amounts are beyond, in words; None when they are within all."""
    bounds = (
        ("budget_usd", limits.budget_usd, amounts.nano_usd / NANO, amounts.nano_usd),
        ("max_tokens", limits.max_tokens, amounts.tokens, amounts.tokens),
        ("max_model_calls", limits.max_model_calls, amounts.model_calls, amounts.model_calls),
        ("max_tool_calls", limits.max_tool_calls, amounts.tool_calls, amounts.tool_calls),
    )
    for name, limit, shown, exact in bounds:
        if limit is None:
            continue
        if exact > (nano(limit) if name == "budget_usd" else limit):
            return f"{name} is {limit:g}; with {what} it would come to {shown:g}"
    return None
