"""What measuring reads and writes: touches and exposures out, credits and outcomes in, replaced, never added to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import orjson
from sqlalchemy import Connection, and_, case, delete, false, func, or_, select

from tidings.ledger import bulk
from tidings.ledger.bulk import TIME
from tidings.ledger.counts import Funnel, RunTotals, funnel, last_run, recipients, run_totals
from tidings.ledger.planning import items_from
from tidings.ledger.schema import credits, engagements, entries, messages, outcomes, revenue_days
from tidings.model.engagement import EngagementKind
from tidings.model.entry import Item
from tidings.model.message import Space, Status
from tidings.plan.erased import ERASED

__all__ = [
    "Credit",
    "Exposure",
    "Funnel",
    "PersonOutcome",
    "RevenueDay",
    "RunTotals",
    "Touch",
    "all_exposures",
    "credit_lines",
    "exposures",
    "exposures_by_person",
    "exposures_of",
    "first_engagement",
    "funnel",
    "last_run",
    "outcome_lines",
    "recipients",
    "replace_credits",
    "replace_outcomes",
    "replace_outcomes_of",
    "replace_revenue_days",
    "revenue_lines",
    "run_totals",
    "sweep",
    "touches",
    "touches_of",
]  # fmt: skip

BATCH = 10_000
_ERASED = f"{ERASED}%"
# In ``sending`` or past it: this person was, or for all we know may have been, written to; or would have been.
EXPOSED = (
    Status.SENDING,
    Status.SENT,
    Status.UNKNOWN,
    Status.PRESUMED_LOST,
    Status.HELD_OUT,
    Status.FAILED,
)


@dataclass(frozen=True, slots=True)
class Touch:
    """One sent message as an order may see it; times without machines' clicks. ``items`` are what it was about."""

    message_id: str
    campaign: str
    customer_id: str
    channel: str
    variant: str
    sent_at: datetime
    delivered_at: datetime | None
    clicked_at: datetime | None
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Exposure:
    """The first time a person was, or in the held-out arm would have been, sent to by a campaign."""

    campaign: str
    customer_id: str
    arm: str
    variant: str
    exposed_at: datetime


@dataclass(frozen=True, slots=True)
class Credit:
    """Which part of an order a message earned, in minor units; ``net`` is after refunds and cancellations."""

    order_id: str
    message_id: str
    campaign: str
    currency: str
    gross: int
    net: int
    ordered_at: datetime
    touch_at: datetime
    touch_kind: str


@dataclass(frozen=True, slots=True)
class PersonOutcome:
    """What an exposed person spent, all of it, from ``exposed_at`` to ``window_ends_at``, in one currency."""

    campaign: str
    customer_id: str
    currency: str
    arm: str
    variant: str
    exposed_at: datetime
    window_ends_at: datetime
    orders: int
    revenue: int


@dataclass(frozen=True, slots=True)
class RevenueDay:
    """All orders of a day in one currency: what credits are checked against."""

    day: datetime
    currency: str
    orders: int
    gross: int
    net: int


def touches(conn: Connection, *, since: datetime, until: datetime | None = None, batch: int = BATCH) -> Iterator[Touch]:
    """Stream the messages sent from ``since`` on (and before ``until``), by customer, then time.

    Never those held out, and never those of which sending is not proven.
    """
    m, e, seen = messages.c, entries.c, _engaged(since)
    query = (
        select(
            m.id, m.campaign, m.customer_id, m.channel, m.sent_at, e.variant, e.seen,
            seen.c.delivered_at, seen.c.clicked_at,
        )
        .join(entries, e.id == m.entry_id)
        .outerjoin(seen, seen.c.message_id == m.id)
        .where(m.status == Status.SENT, m.space == Space.LIVE, m.held_out == false(), m.sending_at >= since)
        .order_by(m.customer_id, m.sent_at, m.id)
    )  # fmt: skip
    if until is not None:
        query = query.where(m.sending_at < until)
    for row in _stream(conn, query, batch):
        items = tuple(items_from(orjson.loads(row.seen)))
        yield Touch(
            row.id, row.campaign, row.customer_id, row.channel, row.variant, row.sent_at, row.delivered_at,
            row.clicked_at, items,
        )  # fmt: skip


def _engaged(since: datetime) -> Any:
    e = engagements.c
    clicked = and_(e.kind == EngagementKind.CLICKED, e.machine == false())
    delivered = e.kind == EngagementKind.DELIVERED
    return (
        select(
            e.message_id,
            func.min(case((delivered, e.at)), type_=TIME).label("delivered_at"),
            func.min(case((clicked, e.at)), type_=TIME).label("clicked_at"),
        )
        .where(e.at >= since, or_(delivered, clicked))
        .group_by(e.message_id)
        .subquery("engaged")
    )


def touches_of(conn: Connection, people: Collection[str], *, since: datetime, until: datetime) -> list[Touch]:
    """Return the touches of these people's messages (without ``items``) that were felt in ``[since, until]``.

    Their times are those of the first click and the first delivery ever, whatever was felt again since.
    """
    m, e, g, wanted = messages.c, entries.c, engagements.c, bulk.ids(conn, people)
    clicked = and_(g.kind == EngagementKind.CLICKED, g.machine == false())
    delivered = g.kind == EngagementKind.DELIVERED
    query = (
        select(
            m.id, m.campaign, m.customer_id, m.channel, e.variant, m.sent_at,
            func.min(case((delivered, g.at)), type_=TIME), func.min(case((clicked, g.at)), type_=TIME),
        )
        .join(wanted, wanted.c.id == m.customer_id)
        .join(entries, e.id == m.entry_id)
        .join(engagements, g.message_id == m.id)
        .where(m.status == Status.SENT, m.space == Space.LIVE, m.held_out == false())
        .where(or_(delivered, clicked), g.at <= until)
        .group_by(m.id, m.campaign, m.customer_id, m.channel, e.variant, m.sent_at)
        .having(func.max(g.at) >= since)
    )  # fmt: skip
    return [
        Touch(id_, campaign, customer, channel, variant, sent_at, first_delivery, first_click, ())
        for id_, campaign, customer, channel, variant, sent_at, first_delivery, first_click in conn.execute(query)
    ]


def first_engagement(conn: Connection) -> datetime | None:
    """Return when anybody first did anything about a message: an order before that has no touch."""
    at: datetime | None = conn.scalar(select(func.min(engagements.c.at, type_=TIME)))
    return at


def exposures(conn: Connection, campaign: str, *, batch: int = BATCH) -> Iterator[Exposure]:
    """Stream each person's first exposure to a campaign, arm as assigned, one row a person.

    A message that the provider refused counts: the held-out arm cannot know who would have been refused.
    """
    return all_exposures(conn, [campaign], batch=batch)


def all_exposures(conn: Connection, campaigns: Collection[str], *, batch: int = BATCH) -> Iterator[Exposure]:
    """Stream the first exposures to several campaigns, one row a campaign and person."""
    m, e = messages.c, entries.c
    turn = func.row_number().over(partition_by=(e.campaign, e.customer_id), order_by=(m.sending_at, m.id))
    ranked = (
        select(e.campaign, e.customer_id, e.arm, e.variant, m.sending_at, turn.label("turn"))
        .join(messages, m.entry_id == e.id)
        .where(
            e.space == Space.LIVE,
            e.campaign.in_(sorted(campaigns)),
            m.status.in_(EXPOSED),
            m.sending_at.is_not(None),
        )
        .subquery("ranked")
    )
    r = ranked.c
    query = select(r.campaign, r.customer_id, r.arm, r.variant, r.sending_at).where(r.turn == 1)
    for row in _stream(conn, query.order_by(r.campaign, r.customer_id), batch):
        yield Exposure(*row)


def exposures_by_person(
    conn: Connection, *, since: datetime, batch: int = BATCH
) -> Iterator[tuple[str, list[Exposure]]]:
    """Stream everybody exposed since a moment, by customer id, with each of their exposures ever, oldest first."""
    # What a forgotten person spent cannot be asked again: it stays as it was measured last.
    recent = select(messages.c.customer_id).where(
        *_exposed(), messages.c.sending_at >= since, messages.c.customer_id.not_like(_ERASED)
    )
    query = _exposure_rows().where(messages.c.customer_id.in_(recent))
    order = (messages.c.customer_id, messages.c.sending_at, messages.c.id)
    rows = (Exposure(*row) for row in _stream(conn, query.order_by(*order), batch))
    for customer, theirs in groupby(rows, key=lambda one: one.customer_id):
        yield customer, list(theirs)


def exposures_of(conn: Connection, people: Collection[str]) -> list[Exposure]:
    """Return every exposure of these people, oldest first."""
    wanted = bulk.ids(conn, people)
    query = _exposure_rows().join(wanted, wanted.c.id == messages.c.customer_id)
    return [Exposure(*row) for row in conn.execute(query.order_by(messages.c.sending_at, messages.c.id))]


def _exposure_rows() -> Any:
    m, e = messages.c, entries.c
    return select(m.campaign, m.customer_id, e.arm, e.variant, m.sending_at).join_from(
        messages, entries, e.id == m.entry_id
    ).where(*_exposed())  # fmt: skip


def _exposed() -> tuple[Any, ...]:
    m = messages.c
    return m.space == Space.LIVE, m.status.in_(EXPOSED), m.sending_at.is_not(None)


def _stream(conn: Connection, query: Any, batch: int) -> Iterator[Any]:
    yield from conn.execution_options(stream_results=True, yield_per=batch).execute(query)


def replace_credits(conn: Connection, order_ids: Collection[str], found: Sequence[Credit], *, now: datetime) -> None:
    """Set the credits of these orders, and only these; an order without a credit loses what it had."""
    wanted = bulk.ids(conn, order_ids)
    conn.execute(delete(credits).where(credits.c.order_id.in_(select(wanted.c.id))))
    names = tuple(column.name for column in credits.columns)
    rows = [(*(getattr(one, name) for name in names[:-1]), now) for one in found]
    bulk.append(conn, credits, names, rows)


def replace_outcomes(conn: Connection, campaign: str, found: Sequence[PersonOutcome], *, now: datetime) -> None:
    """Set what the exposed people of a campaign spent; everything known before is forgotten."""
    conn.execute(delete(outcomes).where(outcomes.c.campaign == campaign))
    names = tuple(column.name for column in outcomes.columns)
    rows = [(*(getattr(one, name) for name in names[:-1]), now) for one in found]
    bulk.append(conn, outcomes, names, rows)


def replace_outcomes_of(
    conn: Connection, people: Collection[str], found: Sequence[PersonOutcome], *, now: datetime
) -> None:
    """Set what these people (under all their ids) spent, in every campaign."""
    wanted = bulk.ids(conn, people)
    conn.execute(delete(outcomes).where(outcomes.c.customer_id.in_(select(wanted.c.id))))
    names = tuple(column.name for column in outcomes.columns)
    bulk.append(conn, outcomes, names, [(*(getattr(one, name) for name in names[:-1]), now) for one in found])


def sweep(conn: Connection, *, orders_since: datetime, exposed_since: datetime, now: datetime) -> int:
    """Remove the credits and outcomes since these moments that a run at ``now`` did not write; return how many."""
    c, o = credits.c, outcomes.c
    stale = delete(credits).where(c.ordered_at >= orders_since, c.computed_at != now, c.order_id.not_like(_ERASED))
    gone = conn.execute(stale).rowcount
    unseen = delete(outcomes).where(
        o.exposed_at >= exposed_since, o.computed_at != now, o.customer_id.not_like(_ERASED)
    )
    return gone + conn.execute(unseen).rowcount


def replace_revenue_days(
    conn: Connection, found: Sequence[RevenueDay], *, start: datetime, end: datetime | None = None
) -> None:
    """Set the shop's revenue of the days from ``start`` on (and before ``end``)."""
    days = revenue_days.c
    conn.execute(
        delete(revenue_days).where(days.day >= start, days.day < end if end is not None else days.day >= start)
    )
    names = tuple(column.name for column in revenue_days.columns)
    bulk.append(conn, revenue_days, names, [tuple(getattr(one, name) for name in names) for one in found])


def credited_and_earned(conn: Connection, *, since: datetime) -> tuple[dict[str, int], dict[str, int]]:
    """Return, per currency, what orders since a day's beginning are credited with and what they were worth, net."""
    c, d = credits.c, revenue_days.c
    # The shop may have erased a forgotten person's orders, so their credits are held against nothing.
    credited = (
        select(c.currency, func.sum(c.net))
        .where(c.ordered_at >= since, c.order_id.not_like(_ERASED))
        .group_by(c.currency)
    )
    earned = select(d.currency, func.sum(d.net)).where(d.day >= since).group_by(d.currency)
    return _sums(conn, credited), _sums(conn, earned)


def _sums(conn: Connection, query: Any) -> dict[str, int]:
    return {currency: int(amount) for currency, amount in conn.execute(query)}


def bought_lately(conn: Connection, campaign: str, *, since: datetime, most: int = 2_000) -> tuple[int, int]:
    """Return how many people a campaign wrote to since then, of the latest ``most``, and how many of them ordered."""
    o = outcomes.c
    latest = (
        select(o.orders)
        .where(o.campaign == campaign, o.arm == "treated", o.exposed_at >= since)
        .order_by(o.exposed_at.desc())
        .limit(most)
        .subquery()
    )
    told, bought = conn.execute(
        select(func.count(), func.coalesce(func.sum(case((latest.c.orders > 0, 1), else_=0)), 0)).select_from(latest)
    ).one()
    return int(told), int(bought)


def credit_lines(
    conn: Connection, start: datetime, end: datetime, *, campaigns: Collection[str] | None = None
) -> Iterator[Credit]:
    """Stream the credits of orders placed in the period, by time."""
    c = credits.c
    query = select(*(column for column in credits.columns if column.name != "computed_at"))
    query = query.where(c.ordered_at >= start, c.ordered_at < end).order_by(c.ordered_at, c.order_id, c.message_id)
    if campaigns is not None:
        query = query.where(c.campaign.in_(sorted(campaigns)))
    for row in _stream(conn, query, BATCH):
        yield Credit(*row)


def outcome_lines(
    conn: Connection, campaigns: Collection[str], start: datetime, end: datetime
) -> Iterator[PersonOutcome]:
    """Stream what the people first exposed in the period spent, by campaign and person."""
    o = outcomes.c
    query = select(*(column for column in outcomes.columns if column.name != "computed_at"))
    query = query.where(o.campaign.in_(sorted(campaigns)), o.exposed_at >= start, o.exposed_at < end)
    for row in _stream(conn, query.order_by(o.campaign, o.customer_id, o.currency), BATCH):
        yield PersonOutcome(*row)


def revenue_lines(conn: Connection, start: datetime, end: datetime) -> list[RevenueDay]:
    """Return the shop's revenue by day and currency."""
    d = revenue_days.c
    query = select(revenue_days).where(d.day >= start, d.day < end).order_by(d.day, d.currency)
    return [RevenueDay(*row) for row in conn.execute(query)]
