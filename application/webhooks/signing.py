"""Signatures of webhooks, as Standard Webhooks 1.0 has them, and the secrets that make them.

Called by the delivery, and by the API where a secret is shown. Its one rule: a secret is stored nowhere; it
is derived from the installation's key, the subscription and the secret's number, so it can be shown once and
used for ever. Whoever changes the key changes every secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable

PREFIX = "whsec_"


class Secrets:
    """The secrets of an installation. key: at least 32 characters, known to API and delivery alike."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def raw(self, subscription_id: str, number: int) -> bytes:
        """32 bytes."""
        return hmac.digest(self._key, f"webhook {subscription_id} {number}".encode(), hashlib.sha256)

    def shown(self, subscription_id: str, number: int) -> str:
        """As the receiver's library takes it: `whsec_<base64>`."""
        return PREFIX + base64.b64encode(self.raw(subscription_id, number)).decode()


def signed_headers(message_id: str, at_s: int, body: bytes, secrets: Iterable[bytes]) -> dict[str, str]:
    """One signature for each secret: two while one takes over from the other."""
    content = b"%b.%d.%b" % (message_id.encode(), at_s, body)
    signatures = [
        base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode() for secret in secrets
    ]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
