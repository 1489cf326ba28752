"""Which URLs a tool may ask: https, a host of the allow-list, nothing that two parsers could read two ways.

Called by `http_get` and `http_post` for the URL that an agent gave and for each that a server redirects to.
Its one rule: what is not plainly allowed is refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import SplitResult, quote, urlsplit

import msgspec

from infrastructure.tools.spec import ToolError

HTTPS_PORT = 443
MAX_CHARACTERS = 2_000
UNSAFE = re.compile(r"[\s\x00-\x1f\x7f\\]")
HOST = re.compile(
    r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*|[0-9a-f:.]*:[0-9a-f:.]*"
)


class Target(msgspec.Struct, frozen=True):
    """Where a request goes. path: with the query, in ASCII."""

    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTPS_PORT else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.authority}{self.path}"


def target_of(url: str, allowed: Sequence[str]) -> Target:
    """The parts of an allowed URL. Raises `ToolError` with the reason for any other."""
    if len(url) > MAX_CHARACTERS or UNSAFE.search(url):
        raise ToolError("url: expected a plain URL without spaces or backslashes")
    try:
        parts = urlsplit(url)
        port = HTTPS_PORT if parts.port is None else parts.port
    except ValueError as error:
        raise ToolError("url: not a URL") from error
    if parts.scheme.lower() != "https":
        raise ToolError("url: only https is allowed")
    if "@" in parts.netloc:
        raise ToolError("url: user names in it are not allowed")
    target = Target(host_of(parts), port, path_of(parts))
    if not any(allows(entry, target) for entry in allowed):
        known = ", ".join(allowed) or "none is configured on this runner"
        raise ToolError(f"url: {target.authority} is not an allowed host; allowed: {known}")
    return target


def host_of(parts: SplitResult) -> str:
    """The host in lower case ASCII, without a final dot."""
    try:
        host = (parts.hostname or "").encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError as error:
        raise ToolError("url: not a host name") from error
    if not HOST.fullmatch(host):
        raise ToolError("url: not a host name")
    return host


def path_of(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe="/%:=&~+!$,;'@()*-._")
    query = quote(parts.query, safe="/%:=&?~+!$,;'@()*[]-._")
    return f"{path}?{query}" if query else path


def allows(entry: str, target: Target) -> bool:
    """Whether an entry of the allow-list covers a target: `host`, `*.domain`, `host:port`, `*`."""
    pattern, _, port = entry.strip().lower().partition(":")
    if target.port != (int(port) if port.isdigit() else HTTPS_PORT):
        return False
    if pattern.startswith("*."):
        return target.host.endswith(pattern[1:])
    return pattern in ("*", target.host)
