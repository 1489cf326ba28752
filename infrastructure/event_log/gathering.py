"""Questions to a database that come while others are asked go out together, as one.

Used by the PostgreSQL log for streams and keys. Its one rule: nobody waits for company. A question goes out
at the end of the turn in which it came, with what came in that turn; where `AT_ONCE` are under way already,
with what came meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

AT_ONCE = 3
"""Questions under way: one that takes long, of a long stream, holds up nobody else."""


class Gathering(Generic[Q, A]):
    """ask: the answers to questions, in their order. at_most: questions that go out as one."""

    def __init__(self, ask: Callable[[Sequence[Q]], Awaitable[Sequence[A]]], at_most: int) -> None:
        self._ask = ask
        self._at_most = at_most
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def answer(self, question: Q) -> A:
        """Raises what `ask` raises."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if len(self._running) < AT_ONCE:
            task = asyncio.create_task(self._run())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await answer

    async def _run(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting[: self._at_most], self._waiting[self._at_most :]
            if wanted := [(question, answer) for question, answer in asked if not answer.done()]:
                await self._asked(wanted)

    async def _asked(self, wanted: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            answers = await self._ask([question for question, _ in wanted])
        except Exception as error:  # noqa: BLE001 - told to everyone who asked
            for _, answer in wanted:
                if not answer.done():
                    answer.set_exception(error)
        else:
            for (_, answer), found in zip(wanted, answers, strict=True):
                if not answer.done():
                    answer.set_result(found)
