"""One connection to NATS that never gives up.

Called by `wiring` for every process that talks to NATS. Its one rule: only `close` and `drain` end it;
whatever the server says or does, it reconnects.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog
from nats import errors
from nats.aio.client import NO_RESPONDERS_STATUS, Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import Header

log = structlog.get_logger()

CONNECT_TIMEOUT_S = 2
RECONNECT_PAUSE_S = 0.1
PING_EVERY_S = 5
MAX_SILENT_PINGS = 2
DRAIN_TIMEOUT_S = 10
ENDS_WITHIN_S = 1
PERMISSIONS = "permissions violation"
PENDING_BYTES = 8 * 1024 * 1024
UNSENT_BYTES = 256 * 1024
"""What may wait for the socket before nats-py's own way is taken, which waits until it has taken it."""


class Connection(Client):
    """nats-py's client, but an error that the server sends before it hangs up leads to a reconnect, and
    requests take fewer turns of the event loop.

    nats-py closes itself for ever after such an error; `-ERR 'Slow Consumer'` is one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count()
        self._answers_sid = 0
        self._takers: dict[int, Callable[[Msg], None]] = {}
        self._is_write_due = False

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

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,
        old_style: bool = False,
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        """As nats-py's, but waits by a timer of the loop.

        `asyncio.wait_for` swallows a cancellation that comes together with the answer on Python 3.11 (mended
        in 3.12); a loop that asks again would then never end.
        """
        if old_style:
            raise ValueError("old_style is not supported")
        if self.is_draining_pubs:
            raise errors.ConnectionDrainingError
        if not self._resp_sub_prefix:
            await self._init_request_sub()
        assert self._resp_sub_prefix  # noqa: S101 - for the type checker
        token = f"{next(self._numbers):x}"
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Msg] = loop.create_future()
        self._resp_map[token] = answer
        timer = loop.call_later(timeout, _expire, answer)
        try:
            reply = self._resp_sub_prefix.decode() + token
            await self.publish(subject, payload, reply=reply, headers=headers)
            message = await answer
        finally:
            timer.cancel()
            self._resp_map.pop(token, None)
        if message.headers and message.headers.get(Header.STATUS) == NO_RESPONDERS_STATUS:
            raise errors.NoRespondersError
        return message

    def publish_all(self, messages: Iterable[tuple[str, bytes, Mapping[str, str]]]) -> None:
        """Messages (subject, body, headers), in their order and in one write with what else is published in
        this round of the event loop.

        Raises as `publish` does, before anything is sent.
        """
        if self.is_closed:
            raise errors.ConnectionClosedError
        if not self.is_connected:  # who publishes many asks for the last one's answer, and comes again
            raise errors.StaleConnectionError
        command = b"".join([self._published(*message) for message in messages])
        if not command:  # asyncio of Python 3.12 and 3.13 never gets rid of a write of nothing
            return
        self._pending.append(command)
        self._pending_data_size += len(command)
        if self._unsent_bytes() > UNSENT_BYTES:
            self._write_pending()
        else:
            self._write_soon()

    def _published(self, subject: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        if len(body) > self._max_payload:
            raise errors.MaxPayloadError
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"NATS/1.0\r\n{lines}\r\n".encode()
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += len(body)
        return b"HPUB %b %d %d\r\n%b%b\r\n" % (subject.encode(), len(head), len(head) + len(body), head, body)

    async def listen(self, subject: str, take: Callable[[Msg], None], queue: str = "") -> Subscription:
        """A subscription whose messages go to `take` as they are read, past a queue and a task of its own."""

        async def before_it_has_a_number(message: Msg) -> None:
            take(message)

        subscription = await self.subscribe(subject, queue=queue, cb=before_it_has_a_number)
        self._takers[subscription._id] = take
        return subscription

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._takers.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    async def _init_request_sub(self) -> None:
        await super()._init_request_sub()
        self._answers_sid = self._sid

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """An answer goes to who waits for it, past the queue and the task of a subscription."""
        take = self._answer if sid == self._answers_sid else self._takers.get(sid)
        if take is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        known = await self._process_headers(headers) if headers else None
        take(self._build_message(sid, subject, reply, data, known))

    def _answer(self, message: Msg) -> None:
        assert self._resp_sub_prefix is not None  # noqa: S101 - for the type checker
        answer = self._resp_map.get(message.subject[len(self._resp_sub_prefix) :])
        if answer and not answer.done():
            answer.set_result(message)

    async def _flush_pending(self, force_flush: bool = False) -> None:
        """All that is published in one round of the event loop goes out in one write at its end, without a
        task; as in nats-py, when the socket does not take it, or the server is away."""
        if force_flush or not self.is_connected or self._unsent_bytes() > UNSENT_BYTES:
            await super()._flush_pending(force_flush)
        else:
            self._write_soon()

    def _write_soon(self) -> None:
        if not self._is_write_due:
            self._is_write_due = True
            asyncio.get_running_loop().call_soon(self._write_pending)

    def _unsent_bytes(self) -> int:
        """Published, and not yet taken by the socket."""
        writer: asyncio.StreamWriter | None = getattr(self._transport, "_io_writer", None)
        return self._pending_data_size + (writer.transport.get_write_buffer_size() if writer else 0)

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        """Behind what was published before: the answer says that the server has it."""
        self._write_pending()
        await super()._send_ping(future)

    def _write_pending(self) -> None:
        self._is_write_due = False
        if self.is_connected and self._pending and self._transport:
            pending, self._pending, self._pending_data_size = self._pending, [], 0
            self._transport.write(b"".join(pending))  # `writelines` of asyncio 3.12 slows nobody down

    async def _select_next_server(self) -> None:
        """A connection that begins has nothing of the one before: no task reads what is not for it, and no
        half of a message waits for its rest.

        nats-py clears up once, while the reader may be reading, and not between two attempts: what came in
        that moment swallowed the next server's first words, and then the task died that connects again.
        """
        tasks = (self._reading_task, self._ping_interval_task, self._flusher_task)
        ending = [task for task in tasks if task is not None and not task.done()]
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending, timeout=ENDS_WITHIN_S)
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]
        self._ps.reset()
        await super()._select_next_server()

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


def _expire(answer: asyncio.Future[Msg]) -> None:
    if not answer.done():
        answer.set_exception(errors.TimeoutError())


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
