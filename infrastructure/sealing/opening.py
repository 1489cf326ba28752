"""Which key seals, over one set of settings; and the log with its contents sealed.

Called by the composition root. Its one rule: no process stores contents in the clear because a key was
forgotten: without one the log is not opened, unless the settings say that nothing is to be sealed.
"""

from __future__ import annotations

from application.log_port import SealableLog
from domain.errors import Invalid
from infrastructure.sealing.installation_key import InstallationKeys
from infrastructure.sealing.keyring import Keyring
from infrastructure.sealing.log import SealedEventLog
from infrastructure.secret_files import kept_secret
from infrastructure.settings import Settings

FILE = "encryption.key"
NONE = "none"


def installation_keys(settings: Settings) -> InstallationKeys | None:
    """From the settings, or kept in the data folder; made there where the log lies in it, too.

    None where nothing is to be sealed. Raises `Invalid` where a key is needed and there is none.
    """
    key, kept = settings.encryption_key, settings.data_dir / FILE
    if not key and (kept.exists() or not settings.log_url):
        key = made_key(settings)
    if not key:
        raise Invalid(
            "KASAL_ENCRYPTION_KEY: expected the key that seals contents, the same for every process "
            "(`kasal keys new` makes one), or none"
        )
    before = settings.encryption_key_before
    return None if key == NONE else InstallationKeys(key, "" if before == NONE else before)


def made_key(settings: Settings) -> str:
    """The key of the data folder, made where it is not there; "" where another one is set."""
    if settings.encryption_key:
        return ""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return kept_secret(settings.data_dir / FILE)


def sealed_log(log: SealableLog, keys: InstallationKeys | None) -> SealedEventLog:
    return SealedEventLog(log, Keyring(log, keys))
