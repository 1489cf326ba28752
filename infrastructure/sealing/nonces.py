"""Nonces for AES-GCM: random, and taken from the kernel many at once.

Called by the ciphers. Its one rule: a nonce is given once, whichever thread asks, and never again in a forked
process. Each call of the kernel lets go of the interpreter's lock, and to get it back beside a busy thread
costs ten times the call.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

NONCE_BYTES = 12
AT_ONCE = 256


class Nonces:
    """Of one process, for as long as it lives."""

    def __init__(self) -> None:
        self._left: Iterator[bytes] = iter(())
        os.register_at_fork(after_in_child=self._forget)

    def new(self) -> bytes:
        while (nonce := next(self._left, None)) is None:
            self._left = nonces_in(os.urandom(AT_ONCE * NONCE_BYTES))
        return nonce

    def _forget(self) -> None:
        """In a forked process: those that are left are its parent's."""
        self._left = iter(())


def nonces_in(randomness: bytes) -> Iterator[bytes]:
    """(The iterator of a list: two threads may ask it at once, a generator not.)"""
    return iter([randomness[at : at + NONCE_BYTES] for at in range(0, len(randomness), NONCE_BYTES)])


nonces = Nonces()
