"""In which order a taker looks where work may wait: the highest priority first, and none never.

Used by both work queues. Its one rule: most takes go from the highest priority down, fair between the queues;
one in seven begins further down, at each priority in turn, so that a flood above starves nothing for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from infrastructure.nats.subjects import token

FAIR_EVERY = 7
HIGHEST = 9
LEVELS = HIGHEST + 1


class Lane(NamedTuple):
    """The work of one priority in one queue."""

    queue: str
    priority: int

    @property
    def consumer(self) -> str:
        """The name of its JetStream consumer."""
        return f"{token(self.queue)}-{self.priority}"


def lanes(queues: Sequence[str], turn: int) -> tuple[Lane, ...]:
    """Where the taker of a turn (0, 1, 2, ...) looks first, second, ..."""
    start = turn % len(queues)
    rotated = [*queues[start:], *queues[:start]]
    first = HIGHEST
    if turn % FAIR_EVERY == FAIR_EVERY - 1:
        first -= turn // FAIR_EVERY % LEVELS
    levels = [(first - step) % LEVELS for step in range(LEVELS)]
    return tuple(Lane(queue, level) for level in levels for queue in rotated)
