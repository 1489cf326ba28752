"""How often a call is sent again. No I/O.

Called by both clients. Its one rule: only what is safe to repeat is: queries, and commands with a key.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from interfaces.client.calls import Call

TRIES = 4
PAUSE_S = 0.2
MAX_PAUSE_S = 10.0
BUSY = 503


def may_repeat(call: Call[Any]) -> bool:
    return call.method == "GET" or "Idempotency-Key" in call.headers


def pause_s(number: int, retry_after: str | None) -> float:
    """Before the try after the number-th; what the API asks for goes first."""
    if retry_after and retry_after.isdecimal():
        return min(float(retry_after), MAX_PAUSE_S)
    return min(PAUSE_S * 2.0**number, MAX_PAUSE_S) * random.uniform(0.5, 1)  # noqa: S311 - jitter


def position_of(call: Call[Any], headers: Mapping[str, str]) -> int:
    """Where a command's effect is; 0 for a query."""
    position = headers.get("Kasal-Position", "")
    return int(position) if call.method != "GET" and position.isdecimal() else 0
