"""Which URLs a webhook may have, judged without asking anybody.

Called by the API when a subscription is made, and by the sender before each request. Its one rule: https, to
a name or a public address; a host that the installation allows by name may be anything.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from domain.errors import Fault, Invalid
from infrastructure.tools.addresses import address_of, forbidden


class Target(NamedTuple):
    """is_allowed: the installation names this host; it may be private, and plain http."""

    host: str
    port: int
    is_allowed: bool


def target_of(url: str, allowed: tuple[str, ...]) -> Target:
    """Raises `Invalid` with a fault at /url."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise refused("is no URL; expected https://host/path") from None
    if not host or parts.username is not None or parts.password is not None or parts.fragment:
        raise refused("expected https://host/path, without credentials and fragment")
    port = port or (443 if parts.scheme == "https" else 80)
    is_allowed = host in allowed or f"{host}:{port}" in allowed
    if parts.scheme != "https" and not is_allowed:
        raise refused("expected https (plain http only to hosts in KASAL_WEBHOOK_ALLOW)")
    if not is_allowed and is_private_literal(host):
        raise refused("expected a public host (private ones only when they are in KASAL_WEBHOOK_ALLOW)")
    return Target(host, port, is_allowed)


def is_private_literal(host: str) -> bool:
    """An address written out, in any spelling, that is not public; or a name that is never public."""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return forbidden(address_of(host))
    except ValueError:
        return not any(character.isalpha() for character in host.rpartition(".")[2])


def refused(message: str) -> Invalid:
    return Invalid(f"url: {message}", (Fault("/url", message),))
