"""Request headers that change what a route does: conditions, Idempotency-Key, Prefer, traceparent.

Called by the routes. Its one rule: a header that can not be read is refused by its name, except where its own
standard says that it is ignored.
"""

from __future__ import annotations

import hashlib
import re

from application.commands import Idempotency
from domain.errors import Fault
from interfaces.problems import Refused, malformed

MAX_WAIT_S = 30
MAX_TAGS = 16

_TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e]*)"\s*(?:,|$)')
_VERSION = re.compile(r"v([1-9][0-9]{0,17})")
_BARE_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_QUOTED_KEY = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,510})"')
_WAIT = re.compile(r'(?:^|[,;\s])wait\s*=\s*"?([0-9]{1,9})"?\s*(?:$|[,;])', re.IGNORECASE)
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def header_fault(name: str, message: str) -> Refused:
    return malformed(f"{name} {message}", Fault(f"/header/{name}", message))


def entity_tags(value: str, name: str) -> list[tuple[bool, str]] | None:
    """(is weak, tag) of each in a list; None for `*`. Raises `Refused` (400) for anything else."""
    if value.strip() == "*":
        return None
    tags: list[tuple[bool, str]] = []
    at = 0
    while at < len(value) and len(tags) < MAX_TAGS:
        match = _TAG.match(value, at)
        if not match:
            break
        tags.append((bool(match[1]), match[2]))
        at = match.end()
    if not tags or at < len(value):
        raise header_fault(name, f'expected entity tags such as "v7", at most {MAX_TAGS}, or *')
    return tags


def versions_matched(value: str) -> list[int] | None:
    """If-Match: the versions of which one must be the current one; None for `*`. Weak tags match nothing."""
    tags = entity_tags(value, "If-Match")
    if tags is None:
        return None
    found = (_VERSION.fullmatch(tag) for is_weak, tag in tags if not is_weak)
    return [int(match[1]) for match in found if match]


def is_unchanged(value: str | None, tag: str) -> bool:
    """If-None-Match (weak comparison) holds the tag, quotes and all: answer 304."""
    if value is None:
        return False
    tags = entity_tags(value, "If-None-Match")
    return tags is None or any(f'"{each}"' == tag for _, each in tags)


def idempotency_key(value: str) -> str:
    """The caller's key: bare, or quoted as a structured string. Raises `Refused` (400)."""
    if quoted := _QUOTED_KEY.fullmatch(value):
        value = re.sub(r'\\(["\\])', r"\1", quoted[1])
        if len(value) <= 255:
            return value
    elif _BARE_KEY.fullmatch(value) and not value.startswith('"'):
        return value
    raise header_fault("Idempotency-Key", "expected 1 to 255 printable ASCII characters")


def idempotency(value: str | None, scope: str, canonical_body: bytes) -> Idempotency | None:
    """scope: tenant, method and path; the same key elsewhere is another key."""
    if value is None:
        return None
    digest = hashlib.sha256(canonical_body).hexdigest()
    return Idempotency(key=f"{scope} {idempotency_key(value)}", request_hash=digest)


def wait_s(prefer: str | None) -> int | None:
    """`Prefer: wait=5` in seconds, at most `MAX_WAIT_S`; None when it is absent or unreadable (RFC 7240)."""
    match = _WAIT.search(prefer) if prefer else None
    return min(int(match[1]), MAX_WAIT_S) if match else None


def traceparent(value: str | None) -> str | None:
    """A well-formed W3C traceparent of the known length; None otherwise, as the standard has it."""
    return value if value and len(value) == 55 and _TRACEPARENT.fullmatch(value) else None


def trace_id(value: str | None) -> str | None:
    match = _TRACEPARENT.fullmatch(value) if value and len(value) == 55 else None
    return match[1] if match else None


def accepts(accept: str | None, media_type: str) -> bool:
    """Whether an Accept header (absent: anything) allows a media type; q=0 refuses it (RFC 9110, 12.5.1)."""
    if not accept or accept == "*/*":
        return True
    main = media_type.partition("/")[0]
    best = (-1, True)
    for part in accept.lower().split(","):
        name, _, parameters = part.strip().partition(";")
        rank = {"*/*": 0, f"{main}/*": 1, media_type: 2}.get(name.strip())
        if rank is not None and rank > best[0]:
            best = (rank, not re.search(r"(?:^|;|\s)q\s*=\s*0(\.0*)?\s*(?:;|$)", parameters))
    return best[0] >= 0 and best[1]
