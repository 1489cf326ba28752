"""The Python client of the HTTP API: `from interfaces.client import Kasal`, or `AsyncKasal` for asyncio.

    with Kasal("http://127.0.0.1:8700") as kasal:
        started = kasal.start("blog-production", inputs={"industry": "tea"})
        for event in kasal.follow(started.id):
            print(event.type, event.data)
        print(kasal.execution(started.id).output)

Used by `kasal demo`, by tests, and by whoever writes Python. Its one rule: what may be repeated is: a command
carries an idempotency key, a stream its place; so a connection that breaks is nobody's concern but ours.
"""

from interfaces.client.asynchronous import AsyncKasal
from interfaces.client.errors import (
    ApiError,
    Archived,
    Conflict,
    Forbidden,
    Invalid,
    KasalClientError,
    Malformed,
    NotFound,
    PositionGone,
    PreconditionFailed,
    Unauthenticated,
    Unavailable,
    Unreachable,
)
from interfaces.client.shapes import Accepted, Event, Execution, Page, Token
from interfaces.client.synchronous import Kasal

__all__ = [
    "Accepted",
    "ApiError",
    "Archived",
    "AsyncKasal",
    "Conflict",
    "Event",
    "Execution",
    "Forbidden",
    "Invalid",
    "Kasal",
    "KasalClientError",
    "Malformed",
    "NotFound",
    "Page",
    "PositionGone",
    "PreconditionFailed",
    "Token",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
]
