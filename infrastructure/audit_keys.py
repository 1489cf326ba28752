"""Ed25519 keys for checkpoints, in the text forms that Go's `sumdb/note` and the C2SP signed note have.

    PRIVATE+KEY+kasal/5f0c2b1e+91ab34cd+Aft2…    a private key: name, key id, 0x01 || seed
    kasal/5f0c2b1e+91ab34cd+AVkW…                its public key: what a verifier needs

Called by the composition root. Its one rule: a private key is never in a message, a log line or an answer.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from application.audit.notes import Checkpoint, Signature, parsed, signed
from application.audit.ports import Forged
from domain.errors import Invalid
from infrastructure.secret_files import write_secret

ED25519 = b"\x01"
PRIVATE = "PRIVATE+KEY+"
_KEY = re.compile(r"(?P<name>[^+\s]+)\+(?P<id>[0-9a-f]{8})\+(?P<material>[A-Za-z0-9+/]{44})")


def key_id(name: str, public: bytes) -> bytes:
    """The first four bytes of a key's hash, as the signed note defines it."""
    return sha256(f"{name}\n".encode() + ED25519 + public).digest()[:4]


class SigningKey:
    """`application.audit.ports.Signer`."""

    def __init__(self, name: str, seed: bytes) -> None:
        self.name = name
        self._seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._key.public_key().public_bytes_raw()
        self._id = key_id(name, self._public)

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Raises `Invalid`; the message does not repeat the text."""
        text = text.strip()
        name, found_id, seed = (
            _parts(text.removeprefix(PRIVATE)) if text.startswith(PRIVATE) else ("", b"", b"")
        )
        if not seed:
            raise Invalid(f"KASAL_AUDIT_KEY: expected {PRIVATE}<name>+<key id>+<base64>")
        key = cls(name, seed)
        if key._id != found_id:
            raise Invalid("KASAL_AUDIT_KEY: the key id does not belong to the key; was a part of it changed?")
        return key

    @classmethod
    def generate(cls, name: str | None = None) -> SigningKey:
        return cls(name or f"kasal/{secrets.token_hex(4)}", secrets.token_bytes(32))

    @property
    def private(self) -> str:
        """What KASAL_AUDIT_KEY takes."""
        return f"{PRIVATE}{self.name}+{self._id.hex()}+{base64.b64encode(ED25519 + self._seed).decode()}"

    @property
    def public(self) -> str:
        return f"{self.name}+{self._id.hex()}+{base64.b64encode(ED25519 + self._public).decode()}"

    def sign(self, body: str) -> str:
        return signed(body, Signature(self.name, self._id, self._key.sign(body.encode())))


class PublicKeys:
    """`application.audit.ports.Verifier`: any of these keys will do.

    Raises `Invalid` for a text that is no public key.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._keys: dict[tuple[str, bytes], Ed25519PublicKey] = {}
        for text in texts:
            name, found_id, public = _parts(text.strip())
            if not public or key_id(name, public) != found_id:
                raise Invalid(
                    "expected a public key: <name>+<key id>+<base64>, as `kasal audit key` shows it"
                )
            self._keys[name, found_id] = Ed25519PublicKey.from_public_bytes(public)

    def check(self, note: str) -> Checkpoint:
        checkpoint, body, signatures = parsed(note)
        for signature in signatures:
            key = self._keys.get((signature.name, signature.key_id))
            if key is not None and _holds(key, signature.signature, body):
                return checkpoint
        raise Forged(f"the checkpoint of size {checkpoint.size} is signed by none of the known keys")


def _holds(key: Ed25519PublicKey, signature: bytes, body: bytes) -> bool:
    try:
        key.verify(signature, body)
    except InvalidSignature:
        return False
    return True


def _parts(text: str) -> tuple[str, bytes, bytes]:
    """Name, key id and key material; the material empty where the text is no key."""
    found = _KEY.fullmatch(text)
    if found is None:
        return "", b"", b""
    try:
        material = base64.b64decode(found["material"], validate=True)
    except binascii.Error:
        return "", b"", b""
    return found["name"], bytes.fromhex(found["id"]), material[1:] if material[:1] == ED25519 else b""


def key_in(folder: Path) -> SigningKey | None:
    """The key that `make_key_in` has left in a data folder."""
    try:
        return SigningKey.parse((folder / "audit.key").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def make_key_in(folder: Path) -> SigningKey:
    """The key of a data folder; made there, readable by its owner only, where there is none."""
    if (key := key_in(folder)) is not None:
        return key
    key = SigningKey.generate()
    write_secret(folder / "audit.key", f"{key.private}\n")
    (folder / "audit.pub").write_text(f"{key.public}\n", encoding="utf-8")
    return key
