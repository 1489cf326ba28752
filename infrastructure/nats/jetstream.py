"""JetStream's API as it is on the wire: JSON requests on `$JS.API.>`, answers or errors with their numbers.

Called by `feed`, `following`, `pulls` and `work`. Its one rule: every failure is `Missing` (the stream or
consumer is not there), `TooLarge`, or `Unavailable`: nobody answered, or, as a `JetStreamError`, the server
said no. nats-py's own JetStream client is left aside: its config knows not every field and its
`publish_async` never ends on a server's error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from domain.errors import TooLarge, Unavailable
from infrastructure.nats.connection import Connection

API_TIMEOUT_S = 5.0
STREAM_NOT_FOUND = 10059
CONSUMER_NOT_FOUND = 10014
NAME_IN_USE = 10058
WRONG_LAST_SEQUENCE = 10071

NANOSECONDS = 1_000_000_000


class ApiError(msgspec.Struct, frozen=True):
    """The `error` member of an answer."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class JetStreamError(Unavailable):
    """The server's refusal. `err_code` is one of JetStream's numbers, `description` its words."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(f"JetStream: {error.description} ({error.err_code})")
        self.err_code = error.err_code
        self.description = error.description


class Missing(Exception):
    """There is no such stream or consumer."""


class StreamState(msgspec.Struct, frozen=True):
    """An empty stream made with `first_seq` has `last_seq` = first_seq - 1."""

    messages: int = 0
    first_seq: int = 0
    last_seq: int = 0


class Answer(msgspec.Struct, frozen=True):
    """What we read of an answer; every kind of answer fits."""

    error: ApiError | None = None
    state: StreamState = StreamState()
    name: str = ""
    seq: int = 0
    created: str = ""
    config: dict[str, Any] = {}


async def ask(connection: Client, subject: str, request: Mapping[str, Any] | None = None) -> Answer:
    """One call of the API: `ask(connection, "STREAM.INFO.KASAL_EVENTS")`."""
    body = msgspec.json.encode(request) if request is not None else b""
    try:
        return await send(connection, f"$JS.API.{subject}", body)
    except Missing as missing:
        if "responders" in str(missing):
            raise Unavailable("JetStream does not answer: it is starting, or not enabled") from missing
        raise


async def send(
    connection: Client, subject: str, body: bytes, headers: dict[str, str] | None = None
) -> Answer:
    """A message that JetStream answers: an API call, or a publish that is acknowledged.

    Raises `Missing` when no stream listens on the subject.
    """
    try:
        message = await connection.request(subject, body, timeout=API_TIMEOUT_S, headers=headers)
    except errors.NoRespondersError as error:
        raise Missing("no responders") from error
    except errors.MaxPayloadError as error:
        raise TooLarge(f"a message of {len(body)} bytes is above the server's max_payload") from error
    except (errors.Error, OSError) as error:
        raise Unavailable(f"JetStream can not be reached: {error}") from error
    return _read(message)


async def post(connection: Client, subject: str, body: bytes, **rest: Any) -> None:
    """A message that is not answered; `rest` is `reply` and `headers`. Buffered while the server is away."""
    try:
        await connection.publish(subject, body, **rest)
    except errors.MaxPayloadError as error:
        raise TooLarge(f"a message of {len(body)} bytes is above the server's max_payload") from error
    except (errors.Error, OSError) as error:
        raise Unavailable(f"NATS can not be reached: {error}") from error


def post_all(connection: Connection, messages: Sequence[tuple[str, bytes, Mapping[str, str]]]) -> None:
    """Messages (subject, body, headers) that are not answered, in one write."""
    try:
        connection.publish_all(messages)
    except errors.MaxPayloadError as error:
        raise TooLarge("a message is above the server's max_payload") from error
    except (errors.Error, OSError) as error:
        raise Unavailable(f"NATS can not be reached: {error}") from error


def _read(message: Msg) -> Answer:
    try:
        answer = _decoder.decode(message.data)
    except msgspec.DecodeError as error:
        raise Unavailable("JetStream's answer can not be read") from error
    if answer.error is None:
        return answer
    if answer.error.err_code in (STREAM_NOT_FOUND, CONSUMER_NOT_FOUND):
        raise Missing(answer.error.description)
    raise JetStreamError(answer.error)


def status_of(message: Msg) -> str:
    """`404`, `408`, ... of a message that the server sent about a pull; "" for a message of the stream."""
    if message.data or not message.headers:
        return ""
    return message.headers.get("Status", "")


_decoder = msgspec.json.Decoder(Answer)
