"""One connection to NATS that never gives up.

Called by `wiring` for every process that talks to NATS. Its one rule: only `close` and `drain` end it;
whatever the server says or does, it reconnects.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg

log = structlog.get_logger()

CONNECT_TIMEOUT_S = 2
RECONNECT_PAUSE_S = 0.1
PING_EVERY_S = 5
MAX_SILENT_PINGS = 2
DRAIN_TIMEOUT_S = 10
PERMISSIONS = "permissions violation"
PENDING_BYTES = 8 * 1024 * 1024


class Connection(Client):
    """nats-py's client, but an error that the server sends before it hangs up leads to a reconnect.

    nats-py closes itself for ever then; `-ERR 'Slow Consumer'` is one of those errors.
    """

    @property
    def epoch(self) -> int:
        """Grows with each reconnect: whatever was asked of the server before may have been forgotten."""
        return int(self.stats["reconnects"])

    async def close(self) -> None:
        """End it. What could not be sent is dropped: nats-py fails over it while the server is away."""
        if not self.is_connected:
            self._pending, self._pending_data_size = [], 0
        try:
            await super().close()
        except OSError as error:
            log.debug("closed without a last word", error=str(error), connection=self.options["name"])

    def give_up_requests(self) -> None:
        """Fail what waits for an answer: the server has forgotten where to send it."""
        for answer in list(self._resp_map.values()):
            if not answer.done():
                answer.set_exception(errors.StaleConnectionError())

    async def request(self, *arguments: Any, **rest: Any) -> Msg:
        """As nats-py's, but cancellation always ends it.

        nats-py waits by `asyncio.wait_for`, which on Python 3.11 swallows a cancellation that comes together
        with the answer (mended in 3.12); a loop that asks again would then never end.
        """
        answer = await super().request(*arguments, **rest)
        if (task := asyncio.current_task()) and task.cancelling():
            raise asyncio.CancelledError
        return answer

    async def _process_err(self, err_msg: str) -> None:
        error = errors.Error(f"nats: {err_msg.strip(chr(39))}")
        if PERMISSIONS in str(error).lower():
            await self._error_cb(error)
        else:
            self._err = error
            log.warning(
                "nats-server refused the connection", error=str(error), connection=self.options["name"]
            )
            await self._process_op_err(error)


async def connect(url: str, name: str) -> Connection:
    """A connection, as soon as the server is there; waits for it without end (cancel to give up).

    `url` may name several servers, separated by commas. `name` shows in the server's monitoring.
    """
    connection = Connection()
    watch = _Watch(name)

    async def on_disconnected() -> None:
        connection.give_up_requests()
        if not connection.is_closed:
            await watch.on_lost()

    await connection.connect(
        [part.strip() for part in url.split(",")],
        name=name,
        connect_timeout=CONNECT_TIMEOUT_S,
        max_reconnect_attempts=-1,
        reconnect_time_wait=RECONNECT_PAUSE_S,  # type: ignore[arg-type]  # seconds; a float serves
        ping_interval=PING_EVERY_S,
        max_outstanding_pings=MAX_SILENT_PINGS,
        drain_timeout=DRAIN_TIMEOUT_S,
        pending_size=PENDING_BYTES,
        flush_timeout=CONNECT_TIMEOUT_S,
        error_cb=watch.on_error,
        disconnected_cb=on_disconnected,
        reconnected_cb=watch.on_back,
    )
    return connection


class _Watch:
    """Logs that a connection is away and that it is back, each once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_away = False

    async def on_error(self, error: Exception) -> None:
        if isinstance(error, OSError | errors.StaleConnectionError | errors.TimeoutError):
            await self.on_lost()
        elif not isinstance(error, errors.SlowConsumerError):  # once for every signal that is dropped
            log.warning("nats", error=str(error) or type(error).__name__, connection=self._name)

    async def on_lost(self) -> None:
        if not self._is_away:
            self._is_away = True
            log.warning("nats is away", connection=self._name)

    async def on_back(self) -> None:
        if self._is_away:
            self._is_away = False
            log.info("nats is back", connection=self._name)
