"""day_spending: what a workflow's executions have taken of its limits per day (UTC)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import msgspec
from sqlalchemy import Index, MetaData, Table

from domain.amounts import NOTHING, Amounts
from domain.spending import Share, ShareHeld, ShareSettled, Spending, evolve
from projections.database.shape import ReadDatabase
from projections.money import usd_of
from projections.paging import DEFAULT_LIMIT, Listing, Page
from projections.projection import Fact, Projection, Rows
from projections.tables import ReadTable, doc, key

NAME = "day_spending"


class Spent(msgspec.Struct, frozen=True):
    """Of each that a limit can bound."""

    cost_usd: float = 0.0
    tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0


class DaySpending(msgspec.Struct, kw_only=True):
    """
    at           the last time that an execution took or gave back a share of the day
    settled      spent, by executions that have ended, wait or are paused
    held         by those under way (`executions`): spent, or kept for their next calls
    running_s    how long they were RUNNING until `at`, added up, where a limit bounds that
    running      executions that run: each adds a second to that in every second
    """

    tenant: str
    day: str
    workflow_id: str
    at: str
    settled: Spent
    held: Spent
    executions: int
    running_s: float
    running: int


class Shares(msgspec.Struct):
    """By execution, with money as exact as it is held. id: that of the stream."""

    id: str
    spending: Spending


DAYS = ReadTable(
    DaySpending,
    Table(
        NAME,
        MetaData(),
        key("tenant"),
        key("day"),
        key("workflow_id"),
        doc(),
        Index("by_workflow", "tenant", "workflow_id", "day"),
    ),
)
SHARES = ReadTable(Shares, Table("day_shares", MetaData(), key("id"), doc()), category="spending")


def fold(rows: Rows, fact: Fact) -> None:
    event = fact.event
    assert isinstance(event, ShareHeld | ShareSettled)  # noqa: S101 - all that such a stream holds
    known = rows.get(SHARES, fact.entity_id)
    spending = evolve(known.spending if known else Spending(), event)
    rows.put(SHARES, Shares(fact.entity_id, spending))
    rows.put(DAYS, day_of(fact, spending))


def day_of(fact: Fact, spending: Spending) -> DaySpending:
    workflow_id, _, day = fact.entity_id.rpartition("_")
    shares, at = spending.shares.values(), fact.recorded.metadata.at
    ran_ms = spending.ran_ms + sum(share.ran_ms(share.ran, at) for share in shares)
    return DaySpending(
        tenant=fact.tenant,
        day=day,
        workflow_id=workflow_id,
        at=fact.at,
        settled=spent(spending.settled),
        held=spent(held_by(shares)),
        executions=len(shares),
        running_s=ran_ms / 1000,
        running=sum(share.ran.since is not None for share in shares),
    )


def held_by(shares: Iterable[Share]) -> Amounts:
    whole = NOTHING
    for share in shares:
        whole = whole.plus(share.held)
    return whole


def spent(amounts: Amounts) -> Spent:
    return Spent(usd_of(amounts.nano_usd), amounts.tokens, amounts.model_calls, amounts.tool_calls)


DAY_SPENDING = Projection(NAME, 1, (DAYS, SHARES), fold, ("spending",), is_refolded=False)


async def list_day_spending(
    read_db: ReadDatabase,
    tenant: str,
    *,
    first_day: date | None = None,
    last_day: date | None = None,
    workflow_id: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page:
    """Newest day first; both days belong to the answer."""
    order: dict[str, type[str] | type[int]] = {"day": str, "workflow_id": str}
    listing = Listing(NAME, tenant, order, descending=True)
    listing.between("day", first_day, last_day)
    listing.equal("workflow_id", workflow_id)
    return await listing.page(read_db, limit, cursor)
