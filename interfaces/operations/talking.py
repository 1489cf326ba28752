"""The HTTP API as the command line talks to it.

Called by the verbs that ask a running stack. Its one rule: the stack on the data folder is asked, or the one
at KASAL_HOST and KASAL_PORT; what it refuses becomes one sentence and the exit code of its kind.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from domain.errors import (
    Conflict,
    Invalid,
    KasalError,
    NotFound,
    Rejected,
    Unauthenticated,
    Unavailable,
)
from infrastructure.settings import Settings
from interfaces.operations.demo import auth, running_url

TIMEOUT_S = 30
KINDS: dict[int, type[KasalError]] = {
    400: Invalid,
    401: Unauthenticated,
    404: NotFound,
    409: Rejected,
    410: NotFound,
    412: Conflict,
    422: Invalid,
    503: Unavailable,
}


@contextmanager
def api(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the stack. Raises `Unavailable` when there is none."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = running_url(settings.data_dir) or f"http://{host}:{settings.port}"
    with httpx.Client(base_url=url, headers=auth(settings), timeout=TIMEOUT_S) as client:
        try:
            yield client
        except httpx.TransportError as error:
            raise Unavailable(f"no Kasal answers at {url}: {str(error) or type(error).__name__}") from error


def ask(client: httpx.Client, path: str, **params: object) -> Any:
    """The JSON of a GET. Raises the error of the tree that the problem stands for."""
    response = client.get(
        path, params={name: str(value) for name, value in params.items() if value is not None}
    )
    check(response)
    return response.json()


def tell(client: httpx.Client, path: str, body: object) -> Any:
    """The JSON answer of a command. Raises as `ask`."""
    response = client.post(path, json=body)
    check(response)
    return response.json()


@contextmanager
def lines(
    client: httpx.Client, path: str, *, patience_s: float = 0, **params: object
) -> Iterator[Iterator[bytes]]:
    """The chunks of a streamed GET; while 503 comes, asked again for `patience_s`. Raises as `ask`."""
    deadline = time.monotonic() + patience_s
    given = {name: str(value) for name, value in params.items() if value is not None}
    while True:
        with client.stream("GET", path, params=given) as response:
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                if response.is_error:
                    response.read()
                check(response)
                yield response.iter_bytes()
                return
        time.sleep(1)


def check(response: httpx.Response) -> None:
    if not response.is_error:
        return
    try:
        problem = response.json()
        faults = "".join(f"\n  {fault['pointer']}: {fault['message']}" for fault in problem.get("errors", ()))
        detail = f"{problem['detail']}{faults}"
    except (ValueError, KeyError, TypeError, AttributeError):
        detail = f"the API answered {response.status_code}"
    raise KINDS.get(response.status_code, KasalError)(detail)
