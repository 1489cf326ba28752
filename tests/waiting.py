"""Waiting in tests: poll a claim until it holds, never sleep for a guessed time.

Called by every test that watches something happen elsewhere. Its one rule: each wait has a deadline, and
missing it fails with what was waited for.
"""

from __future__ import annotations

import inspect
import time
from asyncio import sleep
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast, overload

T = TypeVar("T")

POLL_EVERY_S = 0.01


@overload
async def eventually(predicate: Callable[[], Awaitable[T]], timeout_s: float = 60) -> T: ...
@overload
async def eventually(predicate: Callable[[], T], timeout_s: float = 60) -> T: ...
async def eventually(predicate: Callable[[], T | Awaitable[T]], timeout_s: float = 60) -> T:
    """The first true answer of a predicate, sync or async. Fails with `AssertionError` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = predicate()
        value = cast("T", await answer if inspect.isawaitable(answer) else answer)
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{_name(predicate)} was still {value!r} after {timeout_s:g} s")
        await sleep(POLL_EVERY_S)


def _name(predicate: Callable[[], object]) -> str:
    try:
        return inspect.getsource(predicate).strip()
    except (OSError, TypeError):
        return repr(predicate)
