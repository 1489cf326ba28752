"""How processes load what they need, and how often the garbage collector searches.

Called by the command line before a command is imported, and by a runner around its engine. Its one rule: what
was loaded is never searched, so that no pause of the loop and no page of a forked process is spent on
it. CrewAI loads in 4.0 s in place of 5.6 s, everything else in five sixths of its time.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def for_good() -> Iterator[None]:
    """What is made within stays until the process ends."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def load_structlog() -> None:
    """Without rich, which it would import for stacks in colour, 0.1 s of every start; our log is JSON."""
    if "structlog" not in sys.modules and "rich" not in sys.modules:
        sys.modules["rich"] = None  # type: ignore[assignment]  # says "not installed"
        import structlog  # noqa: F401

        del sys.modules["rich"]


def collect_seldom() -> None:
    """Called by a runner before it forks: what crews leave behind in circles may take 70 MB more of a child
    before it is collected. Python's own thresholds have it looked for over and over, a tenth of a child's
    time with a hundred crews at once."""
    gc.set_threshold(5_000, 10, 10)
