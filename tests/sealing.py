"""The key of installations that tests make, and logs that are sealed with it."""

from __future__ import annotations

from infrastructure.event_log.opening import open_event_log
from infrastructure.sealing.installation_key import InstallationKeys
from infrastructure.sealing.log import SealedEventLog
from infrastructure.sealing.opening import sealed_log

KEY = "k" * 43
KEYS = InstallationKeys(KEY)


async def open_sealed_log(url: str) -> SealedEventLog:
    """As the processes of an installation with `KEY` have it."""
    return sealed_log(await open_event_log(url), KEYS)
