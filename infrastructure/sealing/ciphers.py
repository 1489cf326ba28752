"""What is done with the key of an execution: events and parts of contents, sealed and opened.

Called by the keyring's users. Its one rule: what is sealed is bound to its place (stream, version and tag;
owner, digest and number), so that nothing can be put in another's.

A sealed event is its JSON with blanks, and a last member `sealed`: base64 of nonce and ciphertext of the
whole event, so that it opens to the very bytes that were recorded.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from application.contents import StoredPart
from domain.errors import LogUnavailable
from domain.execution.sealing import blanked
from infrastructure.sealing.nonces import NONCE_BYTES, nonces

MEMBER = b',"sealed":"'
END = b'"}'


class ContentKey:
    """Of one execution."""

    __slots__ = ("_cipher", "secret")

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self._cipher = AESGCM(secret)

    def seal_event(self, stream: str, version: int, tag: str, body: bytes) -> bytes:
        """The body as it is stored; one that holds no content stays as it is."""
        shown = blanked(tag, body)
        if shown is None:
            return body
        sealed = self._seal(body, place_of(stream, version, tag))
        return b"%b%b%b%b" % (shown[:-1], MEMBER, b64encode(sealed), END)

    def open_event(self, stream: str, version: int, tag: str, body: bytes) -> bytes:
        """The body as it was recorded. Raises `LogUnavailable` for one that was changed."""
        shown, sealed = halves(body)
        if not sealed:
            return shown
        return self._open(b64decode(sealed), place_of(stream, version, tag), f"{stream}, version {version}")

    def seal_part(self, part: StoredPart) -> bytes:
        return self._seal(part.body, place_of(part.owner, part.number, part.digest))

    def open_part(self, owner: str, digest: str, number: int, body: bytes) -> bytes:
        """Raises `LogUnavailable` for one that was changed."""
        return self._open(body, place_of(owner, number, digest), f"content {digest} of {owner}")

    def _seal(self, text: bytes, place: bytes) -> bytes:
        nonce = nonces.new()
        return nonce + self._cipher.encrypt(nonce, text, place)

    def _open(self, sealed: bytes, place: bytes, what: str) -> bytes:
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place)
        except InvalidTag:
            raise LogUnavailable(f"{what} was changed, and can not be opened") from None


def place_of(stream: str, number: int, name: str) -> bytes:
    return f"{stream} {number} {name}".encode()


def halves(body: bytes) -> tuple[bytes, bytes]:
    """What is shown of a stored event, and what is sealed; b"" where nothing is.

    Only for events of a stream that has, or had, a key: `sealed` may be a word of another's content.
    """
    if not body.endswith(END):
        return body, b""
    start = body.rfind(b'"', 0, -2) + 1
    if body[start - len(MEMBER) : start] != MEMBER:
        return body, b""
    return body[: start - len(MEMBER)] + b"}", body[start:-2]
