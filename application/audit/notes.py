"""Checkpoints as text: the C2SP checkpoint, which is a signed note.

    kasal/5f0c2b1e                                   the log's origin: the name of its key
    1024                                             the size of the tree: events 1..1024
    3q2+7w…                                          its root, base64
    at 2026-11-24T12:00:00Z                          when it was made
                                                     (an empty line, then the signature)
    — kasal/5f0c2b1e Az3G…                           key id and Ed25519 signature

Called by the keeper, the verifiers and HTTP. Its one rule: what is signed is the text up to the empty line,
to the byte; nobody but `Signer` and `Verifier` (ports) knows how.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime

import msgspec

from application.audit.merkle import HASH_SIZE
from domain.errors import Invalid

_SIGNATURE = re.compile(r"— (?P<name>[^\s+]+) (?P<blob>[A-Za-z0-9+/]+={0,2})")
_AT = re.compile(r"at (?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The log as it was: its first `size` events have this root. note: the text that says so, signed."""

    size: int
    root: bytes
    at: datetime
    note: str


class Signature(msgspec.Struct, frozen=True):
    """A line under a note. key_id: the first four bytes of the key's hash, by which a verifier knows it."""

    name: str
    key_id: bytes
    signature: bytes


def body_of(origin: str, size: int, root: bytes, at: datetime) -> str:
    """What is signed."""
    when = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\nat {when}\n"


def signed(body: str, signature: Signature) -> str:
    """The whole note."""
    blob = base64.b64encode(signature.key_id + signature.signature).decode()
    return f"{body}\n— {signature.name} {blob}\n"


def parsed(note: str) -> tuple[Checkpoint, bytes, tuple[Signature, ...]]:
    """A checkpoint, the bytes that were signed, and the signatures. Raises `Invalid` for any other text."""
    body, empty, lines = note.partition("\n\n")
    match body.split("\n"):
        case [origin, size, root, *more] if empty and origin and size.isascii() and size.isdecimal():
            at = next((found for line in more if (found := _AT.fullmatch(line))), None)
            *written, end = lines.split("\n")
            signatures = tuple(_signature(line) for line in written)
            if at is not None and signatures and not end and len(size) < 19:
                checkpoint = Checkpoint(size=int(size), root=_root(root), at=_time(at["at"]), note=note)
                return checkpoint, f"{body}\n".encode(), signatures
    raise Invalid("expected a checkpoint: a signed note of origin, size, root and time")


def _signature(line: str) -> Signature:
    found = _SIGNATURE.fullmatch(line)
    blob = b"" if found is None else _decoded(found["blob"])
    if found is None or len(blob) < 5:
        raise Invalid("the checkpoint has a line below it that is no signature")
    return Signature(found["name"], blob[:4], blob[4:])


def _root(text: str) -> bytes:
    root = _decoded(text)
    if len(root) != HASH_SIZE:
        raise Invalid(f"the checkpoint's root is not {HASH_SIZE} bytes in base64")
    return root


def _decoded(text: str) -> bytes:
    """Only as we write it: no two texts are the same bytes."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError:
        decoded = b""
    if base64.b64encode(decoded).decode() != text:
        raise Invalid("the checkpoint holds text that is not base64")
    return decoded


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"the checkpoint's time {text!r} is none") from None
