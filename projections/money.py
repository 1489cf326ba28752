"""Sums of money, as every read model shows them."""

from __future__ import annotations

from domain.amounts import NANO

DIGITS = 9


def usd(amount: float) -> float:
    """As exact as budgets are held (nano-dollars), without what adding floats leaves behind (0.1 + 0.2)."""
    return round(amount, DIGITS)


def usd_of(nano_usd: int) -> float:
    return usd(nano_usd / NANO)
