"""http_get: read a public web page or API of an allowed host, over https.

Its one rule: the address that is connected to is the one that was checked (`addresses.py`), for the first
URL and for every redirect; no proxy of the environment is used, nothing is decompressed, and size and time
are bounded.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable
from urllib.parse import urljoin

import httpcore

from infrastructure.tools.addresses import Address, address_of, forbidden
from infrastructure.tools.spec import Arguments, ToolContext, ToolError, ToolSpec
from infrastructure.tools.urls import Target, target_of

MAX_BYTES = 256 * 1024
MAX_REDIRECTS = 3
TIMEOUT_S = 20.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
TEXTUAL = ("text/", "application/json", "application/xml", "application/javascript", "application/yaml")

Resolve = Callable[[str, int], Iterable[str]]


def resolved(host: str, port: int) -> list[str]:
    """Every address of a host, as the system's resolver gives them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class HttpGet:
    """The tool, with its ways out into the world as parameters.

    resolve    host, port -> addresses
    forbidden  whether an address must not be connected to; only tests allow more than the public ones
    tls        None: the system's certificates
    """

    def __init__(
        self,
        resolve: Resolve = resolved,
        forbidden: Callable[[Address], bool] = forbidden,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._resolve = resolve
        self._forbidden = forbidden
        self._tls = tls
        self._timeout_s = timeout_s

    def __call__(self, arguments: Arguments, context: ToolContext) -> str:
        url, allowed = str(arguments["url"]), context.settings.http_allow
        deadline = time.monotonic() + self._timeout_s
        for _ in range(MAX_REDIRECTS + 1):
            target = target_of(url, allowed)
            answer = self._ask(target, deadline)
            if isinstance(answer, str):
                return answer
            url = urljoin(target.url, answer.location)
        raise ToolError(f"http_get: url: more than {MAX_REDIRECTS} redirects")

    def _ask(self, target: Target, deadline: float) -> str | Redirect:
        way = Way(self._checked_address(target), deadline)
        pool = httpcore.ConnectionPool(
            ssl_context=self._tls or ssl.create_default_context(), network_backend=way, retries=0
        )
        headers: dict[bytes | str, bytes | str] = {
            "Host": target.authority,
            "User-Agent": "kasal",
            "Accept-Encoding": "identity",
        }
        try:
            with pool, pool.stream("GET", target.url, headers=headers) as response:
                return outcome(target, response)
        except httpcore.TimeoutException as error:
            raise ToolError(f"http_get: {target.authority} took longer than {self._timeout_s:g} s") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError) as error:
            raise ToolError(f"http_get: {target.authority} did not answer: {error}") from error

    def _checked_address(self, target: Target) -> str:
        """One address of the host; refuses the host when any of its addresses is not allowed."""
        try:
            addresses = list(self._resolve(target.host, target.port))
        except OSError as error:
            raise ToolError(f"url: there is no host {target.host}") from error
        if not addresses or any(self._forbidden(address_of(address)) for address in addresses):
            raise ToolError(f"url: {target.host} is not at a public address")
        return addresses[0]


class Redirect:
    """A server's wish to ask elsewhere. location: absolute or relative, unchecked."""

    def __init__(self, location: str) -> None:
        self.location = location


class Way(httpcore.NetworkBackend):
    """Connects to one checked address, whatever host is asked for, and lets nothing outlast the deadline."""

    def __init__(self, address: str, deadline: float) -> None:
        self._address = address
        self._deadline = deadline
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = time_left(self._deadline, timeout)
        stream = self._network.connect_tcp(self._address, port, left, local_address, socket_options)
        return BoundedStream(stream, self._deadline)


class BoundedStream(httpcore.NetworkStream):
    """A connection on which no operation outlasts the deadline, so that no slow drip does either."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, time_left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, time_left(self._deadline, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = time_left(self._deadline, timeout)
        return BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def time_left(deadline: float, timeout: float | None) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout
    return left if timeout is None else min(left, timeout)


def outcome(target: Target, response: httpcore.Response) -> str | Redirect:
    headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
    if response.status in REDIRECTS and b"location" in headers:
        return Redirect(headers[b"location"])
    if response.status >= 400:
        raise ToolError(f"http_get: {target.url} answered {response.status}")
    kind = headers.get(b"content-type", "text/plain")
    if headers.get(b"content-encoding", "identity") != "identity" or not kind.lower().startswith(TEXTUAL):
        raise ToolError(f"http_get: {target.url} is not text but {kind[:100]}")
    return text_of(response, kind)


def text_of(response: httpcore.Response, kind: str) -> str:
    body = bytearray()
    for piece in response.iter_stream():
        body += piece
        if len(body) > MAX_BYTES:
            return decoded(bytes(body[:MAX_BYTES]), kind) + f"\n[cut after {MAX_BYTES} bytes]"
    return decoded(bytes(body), kind)


def decoded(body: bytes, kind: str) -> str:
    """Text in the charset that the server names, or UTF-8; what is not text there is replaced."""
    charset = kind.partition("charset=")[2].partition(";")[0].strip(" \"'") or "utf-8"
    try:
        return body.decode(charset, errors="replace")
    except LookupError:
        return body.decode("utf-8", errors="replace")


TOOL = ToolSpec(
    name="http_get",
    description="Read a web page or JSON API over https from an allowed public host; answers its text.",
    parameters={
        "type": "object",
        "properties": {"url": {"type": "string", "minLength": 1, "maxLength": 2_000, "format": "uri"}},
        "required": ["url"],
        "additionalProperties": False,
    },
    run=HttpGet(),
)
