"""The audit over one set of settings: which key signs, which keys are believed.

Called by `wiring`. Its one rule: a private key comes from KASAL_AUDIT_KEY, or from the data folder that
`kasal up` owns; a process that has neither signs nothing, and says so once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from application.audit.keeping import Interval
from application.audit.keeping import keep_checkpoints as keep
from application.audit.ports import AuditStore, Verifier
from application.ports import Clock
from domain.errors import Invalid
from infrastructure.audit_keys import PublicKeys, SigningKey, key_in, make_key_in
from infrastructure.settings import Settings

log = structlog.get_logger()


async def keep_checkpoints(
    settings: Settings,
    store: AuditStore,
    clock: Clock,
    wait_beyond: Callable[[int, float], Awaitable[None]],
) -> None:
    """For ever, with the key of the settings or of the data folder."""
    key = signing_key(settings)
    if key is None:
        log.warning("no checkpoints are signed: KASAL_AUDIT_KEY is not set; see `kasal audit key --new`")
        await asyncio.Event().wait()
        return
    log.info("signing checkpoints", public_key=key.public)
    interval = Interval(settings.checkpoint_s, settings.checkpoint_events)
    await keep(store, key, clock, interval, wait_beyond)


def signing_key(settings: Settings) -> SigningKey | None:
    return SigningKey.parse(settings.audit_key) if settings.audit_key else key_in(settings.data_dir)


def make_key(settings: Settings) -> None:
    """A key in the data folder, where none is set and none is there."""
    if not settings.audit_key:
        make_key_in(settings.data_dir)


def public_key(settings: Settings) -> str | None:
    """The verifier key of this installation, where this process knows it.

    Raises `Invalid` for a public key that is damaged, or of another private key than the one that is here.
    """
    key, given = signing_key(settings), settings.audit_public_key
    if key is None:
        return checked(given) if given else None
    if given not in ("", key.public):
        raise Invalid(f"KASAL_AUDIT_PUBLIC_KEY: expected {key.public}, that of the private key that is here")
    return key.public


def checked(public: str) -> str:
    """Raises `Invalid` where the key id is not that of the key."""
    try:
        PublicKeys([public])
    except Invalid as error:
        raise Invalid(f"KASAL_AUDIT_PUBLIC_KEY: {error}") from error
    return public


def new_key(name: str | None) -> tuple[str, str]:
    """A fresh private key and its public key, as text. Raises `Invalid` for a name that is none."""
    key = SigningKey.generate(name)
    return key.private, key.public


def verifier(keys: Sequence[str]) -> Verifier:
    """Raises `Invalid` for a text that is no public key."""
    return PublicKeys(keys)
