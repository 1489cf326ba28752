"""Who is there: a runner answers to its name, and the server says when nobody does.

Called by runners (`attend`) and beside the dispatcher (`Attendance`). Its one rule: absent is only whose
subject nobody listens to; who takes long to answer is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from nats import errors
from nats.aio.msg import Msg

from domain.errors import Unavailable
from infrastructure.nats.connection import Connection
from infrastructure.nats.subjects import attendance_subject

ANSWER_WITHIN_S = 1.0


async def attend(connection: Connection, name: str) -> None:
    """Answer to a name, as long as the connection lives."""

    async def here(message: Msg) -> None:
        await connection.publish(message.reply)

    await connection.subscribe(attendance_subject(name), cb=here)


class Attendance:
    """`application.roll_call.FindAbsent` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._epoch = connection.epoch

    async def __call__(self, names: Collection[str]) -> set[str]:
        self._check()
        absent = await asyncio.gather(*map(self._is_absent, names))
        self._check()
        return {name for name, is_absent in zip(names, absent, strict=True) if is_absent}

    def _check(self) -> None:
        known, self._epoch = self._epoch, self._connection.epoch
        if not self._connection.is_connected or known != self._epoch:
            raise Unavailable("NATS was away")

    async def _is_absent(self, name: str) -> bool:
        try:
            await self._connection.request(attendance_subject(name), timeout=ANSWER_WITHIN_S)
        except errors.NoRespondersError:
            return True
        except (errors.Error, OSError):
            return False
        return False
