"""The keys of an installation, which wrap the keys of executions: the one in use, and one from before.

Called by the composition root. Its one rule: a key is never in a message, a log line or an answer; what names
it is its id.
"""

from __future__ import annotations

import base64
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from application.log_port import StoredKey
from domain.errors import LogUnavailable
from infrastructure.sealing.nonces import NONCE_BYTES, nonces

KEY_BYTES = 32


class InstallationKey:
    """AES-256-GCM. id: the first four bytes of a hash of it, in hex."""

    def __init__(self, text: str) -> None:
        """text: 32 bytes, base64url, as `Settings` has checked it."""
        secret = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        self.id = sha256(b"kasal encryption key\n" + secret).hexdigest()[:8]
        self._cipher = AESGCM(secret)

    def wrap(self, stream: str, key: bytes) -> StoredKey:
        nonce = nonces.new()
        return StoredKey(stream, self.id, nonce + self._cipher.encrypt(nonce, key, stream.encode()))

    def unwrap(self, stored: StoredKey) -> bytes:
        """Raises `LogUnavailable` for a row that was changed."""
        try:
            return self._cipher.decrypt(
                stored.wrapped[:NONCE_BYTES], stored.wrapped[NONCE_BYTES:], stored.stream.encode()
            )
        except InvalidTag:
            raise LogUnavailable(f"the key of {stored.stream} was changed, and opens nothing") from None


class InstallationKeys:
    """now: wraps what is new; before: also unwraps what was wrapped earlier."""

    def __init__(self, now: str, before: str = "") -> None:
        self.now = InstallationKey(now)
        known = (self.now, InstallationKey(before)) if before else (self.now,)
        self._by_id = {key.id: key for key in known}

    def wrap(self, stream: str, key: bytes) -> StoredKey:
        return self.now.wrap(stream, key)

    def unwrap(self, stored: StoredKey) -> bytes:
        """Raises `LogUnavailable` where the key that wrapped it is not here."""
        key = self._by_id.get(stored.wrapping)
        if key is None:
            raise LogUnavailable(
                f"KASAL_ENCRYPTION_KEY: expected the key {stored.wrapping}, with which this log was written; "
                f"found {', '.join(self._by_id)}"
            )
        return key.unwrap(stored)
