"""What an endpoint's answer means, and when to try again.

Called by `courier`. Its one rule: only a 2xx is a delivery; a redirect is a failure like any other.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from enum import Enum
from typing import Final

import msgspec

from application.webhooks.lanes import Lane

DAY_S = 86_400.0
BACK_OFF_S = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600, 37_045)
"""Between one attempt and the next: a day in all."""

JITTER = 0.1


class Answer(msgspec.Struct, frozen=True):
    """status: 0 when there was no answer. said: why not, in words. retry_after_s: what the endpoint asked."""

    status: int
    said: str
    retry_after_s: float = 0.0


class Verdict(Enum):
    TAKEN = "taken"
    AGAIN = "again"
    GIVEN_UP = "given up"
    GONE = "gone"


TAKEN: Final = Verdict.TAKEN
GIVEN_UP: Final = Verdict.GIVEN_UP
GONE: Final = Verdict.GONE


class Patience:
    """How often a delivery is tried. back_off_s: the pauses between attempts."""

    def __init__(self, back_off_s: Sequence[float] = BACK_OFF_S) -> None:
        self._back_off_s = tuple(back_off_s)

    def verdict(self, answer: Answer, lane: Lane, now: float) -> Verdict:
        """Counts a failure in the lane, and sets when it is tried again."""
        if 200 <= answer.status < 300:
            return Verdict.TAKEN
        if answer.status == 410:
            return Verdict.GONE
        number = lane.attempts
        is_last = number >= len(self._back_off_s)
        pause_s = 0.0 if is_last else self._back_off_s[number] * random.uniform(1, 1 + JITTER)  # noqa: S311
        lane.failed(now, now + max(pause_s, answer.retry_after_s))
        return Verdict.GIVEN_UP if is_last else Verdict.AGAIN
