"""How many model calls an agent or a crew may make within a minute (`max_rpm`).

Asked by `ReportedModel` before a call is sent. Its one rule: only what is sent counts; what the journal
answers does not.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

MINUTE_S = 60.0


class RateLimit:
    """A sliding minute. Safe from any thread; shared by all that it bounds together."""

    def __init__(self, calls: int, window_s: float = MINUTE_S) -> None:
        self._calls = calls
        self._window_s = window_s
        self._sent: deque[float] = deque()
        self._lock = threading.Lock()

    def take(self, pause: Callable[[float], None]) -> None:
        """Return when one more call may be sent. pause: waits, or raises when nobody needs the call."""
        while (wait_s := self._try()) > 0:
            pause(wait_s)

    def _try(self) -> float:
        """Seconds until there may be room; 0 when this call has got it."""
        now = time.monotonic()
        with self._lock:
            while self._sent and self._sent[0] <= now - self._window_s:
                self._sent.popleft()
            if len(self._sent) < self._calls:
                self._sent.append(now)
                return 0
            return self._sent[0] + self._window_s - now
