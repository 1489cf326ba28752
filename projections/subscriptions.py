"""subscriptions: every webhook as it is now, and its dead letters."""

from __future__ import annotations

import msgspec
from sqlalchemy import Index, MetaData, Table

from domain.event_filter import EventFilter
from domain.subscription import (
    DeliveryAbandoned,
    DeliveryReplayed,
    SecretRotated,
    Standing,
    SubscriptionCreated,
    SubscriptionDeleted,
    SubscriptionDisabled,
    SubscriptionPaused,
    SubscriptionResumed,
    SubscriptionRevised,
)
from projections.database.shape import ReadDatabase
from projections.paging import DEFAULT_LIMIT, Document, Listing, Page, document
from projections.projection import Fact, Projection, Rows
from projections.tables import ReadTable, doc, key, number, text

NAME = "subscriptions"
DEAD_LETTERS = "subscription_dead_letters"


class SubscriptionRow(msgspec.Struct, kw_only=True):
    """standing: ACTIVE, PAUSED or DISABLED. secret: the number of the one that signs.

    disabled_because  of the last time that the delivery gave up
    """

    id: str
    tenant: str
    url: str
    description: str
    wanted: EventFilter
    standing: str
    secret: int
    dead_letters: int = 0
    disabled_because: str | None = None
    created_at: str
    updated_at: str
    version: int
    position: int

    @property
    def subscription_id(self) -> str:
        return self.id


class DeadLetter(msgspec.Struct, kw_only=True):
    """An event that the endpoint did not take in all the attempts. position: of that event."""

    subscription_id: str
    tenant: str
    position: int
    attempts: int
    reason: str
    at: str


SUBSCRIPTIONS = ReadTable(
    SubscriptionRow,
    Table(
        NAME,
        MetaData(),
        key("subscription_id"),
        text("tenant"),
        text("created_at"),
        text("standing"),
        number("version"),
        doc(),
        Index("by_time", "tenant", "created_at", "subscription_id"),
    ),
    category="subscription",
)
LETTERS = ReadTable(
    DeadLetter,
    Table(
        DEAD_LETTERS,
        MetaData(),
        key("subscription_id"),
        key("position", is_number=True),
        text("tenant"),
        doc(),
    ),
)


def fold(rows: Rows, fact: Fact) -> None:
    event = fact.event
    if isinstance(event, SubscriptionCreated):
        rows.put(SUBSCRIPTIONS, created(event, fact))
        return
    if isinstance(event, SubscriptionDeleted):
        rows.remove(SUBSCRIPTIONS, fact.entity_id)
        return
    row = rows.change(SUBSCRIPTIONS, fact.entity_id)
    row.updated_at, row.version, row.position = fact.at, fact.version, fact.position
    match event:
        case SubscriptionRevised(url=url, wanted=wanted, description=description):
            row.url, row.wanted, row.description = url, wanted, description
        case SubscriptionPaused():
            row.standing = Standing.PAUSED
        case SubscriptionResumed():
            row.standing = Standing.ACTIVE
        case SubscriptionDisabled(reason=reason):
            row.standing, row.disabled_because = Standing.DISABLED, reason
        case SecretRotated(secret=secret):
            row.secret = secret
        case DeliveryAbandoned() as e:
            row.dead_letters += 1
            letter = DeadLetter(
                subscription_id=fact.entity_id,
                tenant=fact.tenant,
                position=e.position,
                attempts=e.attempts,
                reason=e.reason,
                at=fact.at,
            )
            rows.put(LETTERS, letter)
        case DeliveryReplayed(position=position):
            row.dead_letters -= 1
            rows.remove(LETTERS, fact.entity_id, position)


def created(event: SubscriptionCreated, fact: Fact) -> SubscriptionRow:
    return SubscriptionRow(
        id=fact.entity_id,
        tenant=fact.tenant,
        url=event.url,
        description=event.description,
        wanted=event.wanted,
        standing=Standing.ACTIVE,
        secret=event.secret,
        created_at=fact.at,
        updated_at=fact.at,
        version=fact.version,
        position=fact.position,
    )


SUBSCRIPTIONS_PROJECTION = Projection(NAME, 1, (SUBSCRIPTIONS, LETTERS), fold, ("subscription",))


async def list_subscriptions(
    read_db: ReadDatabase,
    tenant: str,
    *,
    standing: Standing | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page:
    """Newest first; those that were deleted are not among them."""
    listing = Listing(NAME, tenant, {"created_at": str, "subscription_id": str}, descending=True)
    listing.equal("standing", standing)
    return await listing.page(read_db, limit, cursor)


async def get_subscription(read_db: ReadDatabase, tenant: str, subscription_id: str) -> Document:
    """Raises `NotFound`."""
    return await document(read_db, "subscription", NAME, tenant, subscription_id=subscription_id)


async def list_dead_letters(
    read_db: ReadDatabase,
    tenant: str,
    subscription_id: str,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page:
    """In the order of the log. Raises `NotFound` for a subscription that is not there."""
    await get_subscription(read_db, tenant, subscription_id)
    listing = Listing(DEAD_LETTERS, tenant, {"position": int})
    listing.equal("subscription_id", subscription_id)
    return await listing.page(read_db, limit, cursor)


async def all_subscriptions(read_db: ReadDatabase) -> list[str]:
    """The ids of those that are there, of every tenant: for the delivery."""
    rows = await read_db.fetch(f"SELECT subscription_id FROM {NAME}")  # noqa: S608 - our own name
    return [str(row[0]) for row in rows]
