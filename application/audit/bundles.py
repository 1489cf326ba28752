"""One execution with its proofs in a file, and the check of such a file: offline, with the public key alone.

A bundle is JSON lines: a head (the signed checkpoint, how many events), then each event with the bytes that
the log holds and its path in the tree. Its one rule: what a bundle says of itself is never believed; every
line is worked out again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from application.audit.merkle import StoredEvent, is_included, leaf_hash
from application.audit.notes import Checkpoint
from application.audit.ports import Verifier
from application.audit.verifying import Verified
from domain.errors import Invalid
from domain.execution import ExecutionErased
from domain.message import tag_of

FORMAT = 1
ERASED = tag_of(ExecutionErased)


class BundleHead(msgspec.Struct, frozen=True, kw_only=True):
    """events: 1..n, all that the stream had. key: the signer's public key, to be compared, not trusted.

    opens: the key that its contents are sealed with; "" where they are not, or are erased.
    """

    kasal_bundle: int = FORMAT
    stream: str
    events: int
    checkpoint: str
    key: str
    opens: bytes = b""


class BundledEvent(msgspec.Struct, frozen=True, kw_only=True):
    """body, metadata: the stored bytes, base64; path: hashes from the leaf up, base64."""

    position: int
    version: int
    tag: str
    body: bytes
    metadata: bytes
    path: tuple[bytes, ...]


class BundleVerified(Verified, kw_only=True):
    """stream, checkpoint: what the head says, the checkpoint signed. is_erased: its contents are gone."""

    stream: str
    checkpoint: Checkpoint
    is_erased: bool = False


_encode = msgspec.json.Encoder().encode
_head = msgspec.json.Decoder(BundleHead).decode
_event = msgspec.json.Decoder(BundledEvent).decode


def line_of(head: BundleHead, event: StoredEvent | None = None, path: Sequence[bytes] = ()) -> bytes:
    """The head as a line, or an event of its stream."""
    if event is None:
        return _encode(head) + b"\n"
    position, version, _, tag, body, metadata = event
    bundled = BundledEvent(
        position=position,
        version=version,
        tag=tag.decode(),
        body=body,
        metadata=metadata,
        path=tuple(path),
    )
    return _encode(bundled) + b"\n"


def verify_bundle(lines: Iterable[bytes], verifier: Verifier) -> BundleVerified:
    """Every event, one line after the other.

    Raises `Invalid` for what is no bundle at all, `Forged` when no known key has signed its checkpoint.
    """
    found = iter(lines)
    head = _read_head(next(found, b""))
    result = BundleVerified(stream=head.stream, checkpoint=verifier.check(head.checkpoint))
    for line in found:
        _check(line, head.stream, result)
    if result.events != head.events:
        result.found(f"{result.events} events are in the file; its head says {head.events}")
    if result.is_sound:
        result.covered, result.checkpoints = result.checkpoint.size, 1
    return result


def _read_head(line: bytes) -> BundleHead:
    try:
        head = _head(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"expected an audit bundle: the first line is none of its heads ({error})") from None
    if head.kasal_bundle != FORMAT:
        raise Invalid(f"the bundle is of format {head.kasal_bundle}; this release reads {FORMAT}")
    return head


def _check(line: bytes, stream: str, result: BundleVerified) -> None:
    result.events += 1
    try:
        event = _event(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return result.found(f"line {result.events + 1} is no event: {error}")
    if event.version != result.events:
        result.found(f"version {result.events} was expected, but {event.version} comes", event.position)
    stored = (
        event.position,
        event.version,
        stream.encode(),
        event.tag.encode(),
        event.body,
        event.metadata,
    )
    checkpoint = result.checkpoint
    if not is_included(leaf_hash(stored), event.position - 1, checkpoint.size, event.path, checkpoint.root):
        result.found("the event is not the one that was signed", event.position)
    result.is_erased = result.is_erased or event.tag == ERASED
    return None
