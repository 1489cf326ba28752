"""The keys of all executions under another key of the installation.

Called by `kasal keys rewrap`. Its one rule: a key is replaced only by itself, so that neither an erasure nor
another run beside it is undone.
"""

from __future__ import annotations

from application.log_port import KeyStore
from domain.errors import Invalid
from infrastructure.sealing.installation_key import InstallationKeys

PAGE = 500


async def rewrap(store: KeyStore, keys: InstallationKeys | None) -> tuple[int, int]:
    """How many were wrapped anew, of how many.

    Raises `Invalid` where nothing is sealed, `LogUnavailable` at one that no key here unwraps.
    """
    if keys is None:
        raise Invalid("KASAL_ENCRYPTION_KEY: expected a key, not none")
    done = seen = 0
    after = ""
    while page := await store.keys_after(after, PAGE):
        for stored in page:
            if stored.wrapped and stored.wrapping != keys.now.id:
                await store.rewrap(stored, keys.wrap(stored.stream, keys.unwrap(stored)))
                done += 1
        seen, after = seen + len(page), page[-1].stream
    return done, seen
