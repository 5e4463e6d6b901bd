"""Sums that a report is made of: credits by campaign and day, and what each arm's people spent; one currency each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, case, func, select, union

from tidings.ledger.bulk import TIME
from tidings.ledger.schema import credits, outcomes, revenue_days


@dataclass(frozen=True, slots=True)
class Earned:
    """Orders with something left of them, and their net amount in minor units."""

    orders: int = 0
    revenue: int = 0


@dataclass(slots=True)
class ArmSpending:
    """The people of one arm first exposed in a period, what each buyer spent, and when the last window ends."""

    persons: int = 0
    amounts: list[int] = field(default_factory=list)
    last_window_ends_at: datetime | None = None


def credited(conn: Connection, start: datetime, end: datetime, currency: str) -> dict[str, Earned]:
    """Return what each campaign is credited with for the orders placed in ``[start, end)``."""
    c = credits.c
    query = (
        select(c.campaign, func.sum(case((c.net > 0, 1), else_=0)), func.sum(c.net))
        .where(c.ordered_at >= start, c.ordered_at < end, c.currency == currency)
        .group_by(c.campaign)
    )
    return {campaign: Earned(int(orders), int(revenue)) for campaign, orders, revenue in conn.execute(query)}


def credit_moments(conn: Connection, start: datetime, end: datetime, currency: str) -> list[tuple[str, datetime, int]]:
    """Return campaign, time and net amount of every credit with something left, to be put into days."""
    c = credits.c
    query = select(c.campaign, c.ordered_at, c.net).where(
        c.ordered_at >= start, c.ordered_at < end, c.currency == currency, c.net > 0
    )
    return [(campaign, at, int(net)) for campaign, at, net in conn.execute(query)]


def shop_total(conn: Connection, start: datetime, end: datetime, currency: str) -> Earned:
    """Return all the shop's orders of the days that begin in ``[start, end)``."""
    d = revenue_days.c
    query = select(func.sum(d.orders), func.sum(d.net)).where(d.day >= start, d.day < end, d.currency == currency)
    orders, revenue = conn.execute(query).one()
    return Earned(int(orders or 0), int(revenue or 0))


def currencies(conn: Connection, start: datetime, end: datetime) -> list[str]:
    """Return the currencies the shop's orders of the period were in."""
    c, d = credits.c, revenue_days.c
    days = select(d.currency).where(d.day >= start, d.day < end)
    query = union(days, select(c.currency).where(c.ordered_at >= start, c.ordered_at < end))
    return sorted(conn.scalars(query))


def spending(conn: Connection, start: datetime, end: datetime, currency: str) -> dict[str, dict[str, ArmSpending]]:
    """Return, by campaign and arm, everybody first exposed in ``[start, end)`` and what they spent in the currency.

    Whoever spent nothing in it still counts as a person.
    """
    o = outcomes.c
    period = (o.exposed_at >= start, o.exposed_at < end)
    found: dict[str, dict[str, ArmSpending]] = defaultdict(lambda: defaultdict(ArmSpending))
    people = select(
        o.campaign, o.arm, func.count(o.customer_id.distinct()), func.max(o.window_ends_at, type_=TIME)
    ).where(*period)
    for campaign, arm, persons, ends in conn.execute(people.group_by(o.campaign, o.arm)):
        found[campaign][arm] = ArmSpending(persons, [], ends)
    amounts = select(o.campaign, o.arm, o.revenue).where(*period, o.currency == currency, o.revenue != 0)
    for campaign, arm, revenue in conn.execute(amounts.order_by(o.campaign, o.arm, o.revenue)):
        found[campaign][arm].amounts.append(int(revenue))
    return found
