"""The keys of executions in memory: looked up many at once, remembered for a while, forgotten when erased.

Called by the sealing log and feed. Its one rule: a key is remembered for half a minute at the most, so that
what another process has erased is closed here soon, too.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Iterable

from application.log_port import KeyStore, StoredKey
from domain.errors import LogUnavailable
from infrastructure.sealing.ciphers import ContentKey
from infrastructure.sealing.installation_key import KEY_BYTES, InstallationKeys

FRESH_S = 30.0
REMEMBERED = 20_000
AT_ONCE = 1_000

Found = ContentKey | bool
"""A key; True: there was one, and it is destroyed; False: the stream never had one."""


class Keyring:
    """Of one log. known: by stream, what was found and until when it is believed."""

    def __init__(self, store: KeyStore, installation: InstallationKeys | None) -> None:
        """installation: None where contents are not sealed: what is sealed already can not be opened."""
        self._store = store
        self._installation = installation
        self._known: OrderedDict[str, tuple[Found, float]] = OrderedDict()

    @property
    def seals(self) -> bool:
        return self._installation is not None

    def new(self, stream: str) -> tuple[ContentKey, StoredKey]:
        """A key for a stream that begins; it counts from when it is stored with the first event."""
        assert self._installation is not None  # noqa: S101 - for the type checker; `seals` was asked
        secret = os.urandom(KEY_BYTES)
        return ContentKey(secret), self._installation.wrap(stream, secret)

    def wrapped(self, stream: str, secret: bytes) -> StoredKey:
        """A key from elsewhere; b"": one that is destroyed. Raises `LogUnavailable` where none is sealed."""
        if not secret:
            return StoredKey(stream, "", b"")
        if self._installation is None:
            raise missing()
        return self._installation.wrap(stream, secret)

    async def of(self, stream: str) -> Found:
        return (await self.of_all([stream]))[stream]

    async def of_all(self, streams: Iterable[str]) -> dict[str, Found]:
        """What there is of each stream. Raises `LogUnavailable`, also where the installation's key is not."""
        now = time.monotonic()
        found: dict[str, Found] = {}
        unknown: list[str] = []
        for stream in dict.fromkeys(streams):
            known = self._known.get(stream)
            if known is None or known[1] < now:
                unknown.append(stream)
            else:
                found[stream] = known[0]
        for start in range(0, len(unknown), AT_ONCE):
            found |= await self._looked_up(unknown[start : start + AT_ONCE])
        return found

    def learn(self, stream: str, found: Found) -> None:
        self._known[stream] = (found, time.monotonic() + FRESH_S)
        self._known.move_to_end(stream)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    async def _looked_up(self, streams: list[str]) -> dict[str, Found]:
        stored = {key.stream: key for key in await self._store.keys(streams)}
        found = {stream: self._unwrapped(stored.get(stream)) for stream in streams}
        for stream, key in found.items():
            self.learn(stream, key)
        return found

    def _unwrapped(self, stored: StoredKey | None) -> Found:
        if stored is None or not stored.wrapped:
            return stored is not None
        if self._installation is None:
            raise missing()
        return ContentKey(self._installation.unwrap(stored))


def missing() -> LogUnavailable:
    return LogUnavailable(
        "KASAL_ENCRYPTION_KEY: expected the key with which this log was written; found none"
    )
