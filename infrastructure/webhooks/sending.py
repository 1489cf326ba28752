"""One request to an endpoint, over a connection to an address that was checked.

Called by the delivery of webhooks. Its one rule: the address that is connected to is the one that was
checked; a name is resolved once for each connection, all of its addresses must be public (or the host be
allowed), no redirect is followed, no proxy of the environment is used, and time and size are bounded.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore

from application.webhooks.outcomes import DAY_S, Answer
from domain.errors import Invalid
from infrastructure.tools.addresses import Address, address_of, forbidden
from infrastructure.webhooks.targets import target_of

TIMEOUT_S = 15.0
MAX_ANSWER_BYTES = 64 * 1024
KEEP_ALIVE_S = 30.0
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"

Resolve = Callable[[str, int], Awaitable[Iterable[str]]]


class NotPublic(Exception):
    """A name leads to an address that a webhook must not reach."""


async def resolved(host: str, port: int) -> list[str]:
    """Every address of a host, as the system's resolver gives them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Sender:
    """Posts events.

    allowed    hosts (or host:port) that may be private and plain http
    resolve    host, port -> addresses
    forbidden  whether an address must not be connected to; only tests allow more than the public ones
    tls        None: the system's certificates
    """

    def __init__(
        self,
        allowed: tuple[str, ...] = (),
        *,
        resolve: Resolve = resolved,
        forbidden: Callable[[Address], bool] = forbidden,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._allowed = allowed
        self._timeout_s = timeout_s
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or ssl.create_default_context(),
            network_backend=CheckedNetwork(allowed, resolve, forbidden),
            max_connections=None,
            max_keepalive_connections=1_000,
            keepalive_expiry=KEEP_ALIVE_S,
            retries=0,
        )

    async def close(self) -> None:
        await self._pool.aclose()

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """Never raises for what an endpoint does, or does not."""
        try:
            target_of(url, self._allowed)
            async with asyncio.timeout(self._timeout_s):
                return await self._post(url, headers, body)
        except TimeoutError:
            return Answer(0, f"no answer within {self._timeout_s:g} s")
        except (Invalid, NotPublic) as error:
            return Answer(0, str(error))
        except httpcore.TimeoutException:
            return Answer(0, "no answer in time")
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
            return Answer(0, f"could not be reached: {error}"[:300])

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        fields: dict[bytes | str, bytes | str] = {
            "Content-Type": CONTENT_TYPE,
            "User-Agent": "kasal-webhooks",
            "Accept-Encoding": "identity",
        }
        fields.update(headers)
        async with self._pool.stream("POST", url, headers=fields, content=body) as response:
            size = 0
            async for piece in response.aiter_stream():
                size += len(piece)
                if size > MAX_ANSWER_BYTES:
                    break
            given = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        return Answer(
            response.status, f"answered {response.status}", retry_after_s(given.get(b"retry-after"))
        )


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to an address that the host's name leads to, after all of them were checked."""

    def __init__(
        self, allowed: tuple[str, ...], resolve: Resolve, forbidden: Callable[[Address], bool]
    ) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._forbidden = forbidden
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        address = await self._address(host, port)
        return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)

    async def _address(self, host: str, port: int) -> str:
        addresses = list(await self._resolve(host, port))
        is_allowed = host in self._allowed or f"{host}:{port}" in self._allowed
        if not addresses:
            raise NotPublic(f"there is no host {host}")
        if not is_allowed and any(self._forbidden(address_of(address)) for address in addresses):
            raise NotPublic(f"{host} is not at a public address")
        return addresses[0]

    async def sleep(self, seconds: float) -> None:
        """What a pool with retries would ask for; ours has none."""
        await asyncio.sleep(seconds)


def retry_after_s(value: str | None) -> float:
    """Seconds, of a number or an HTTP date, at most a day; 0 for anything else."""
    if not value:
        return 0.0
    if value.isascii() and value.isdecimal():
        return min(float(value[:10]), DAY_S)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    left = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)
    return min(max(left.total_seconds(), 0.0), DAY_S)
