"""Measuring: what messages earned and what the held-out people spent, recomputed so that repeating changes nothing.

Orders and people are read in batches: memory does not grow with the shop. One run at a time; a second at the same
time may leave rows out until the next.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from sqlalchemy import Connection

from tidings.jobs import rates, seal
from tidings.jobs.opening import Opened
from tidings.ledger import erasing, progress, results
from tidings.ledger.results import Exposure, RevenueDay
from tidings.measure import balance
from tidings.measure.attribution import OrderFacts, TouchWindow, Windows, credits, net_amount
from tidings.measure.calendar import day_start
from tidings.measure.spending import Purchase, outcomes
from tidings.settings.policy import Attribution
from tidings.warehouse import freshness, orders, people
from tidings.warehouse.orders import Sale

log = logging.getLogger(__name__)

JOB = "measure"
BATCH = 5_000
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class MeasureCounts:
    """One measuring run over the orders since ``since``. Money in minor units per currency.

    ``orders`` were read, ``credited`` of them go to a message; ``no_currency`` could not be counted as money.
    ``people`` were exposed to a campaign, ``outcomes`` are the rows about what they spent. ``removed`` is what an
    earlier run had found and this one did not.
    """

    as_of: datetime
    since: datetime
    orders: int = 0
    credited: int = 0
    no_currency: int = 0
    people: int = 0
    outcomes: int = 0
    removed: int = 0
    revenue: Mapping[str, int] = field(default_factory=dict)
    attributed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Scope:
    """What a run looks at, and how it counts. ``currency`` is the one of orders that name none, if there is one."""

    now: datetime
    zone: str
    report_currency: str
    currency: str | None
    window: timedelta
    windows: Windows
    longest: timedelta
    orders_since: datetime
    exposed_since: datetime


@dataclass(slots=True)
class _Tally:
    """What a run has counted so far."""

    counts: Counter[str] = field(default_factory=Counter)
    days: dict[tuple[datetime, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))
    revenue: Counter[str] = field(default_factory=Counter)
    attributed: Counter[str] = field(default_factory=Counter)


def run(opened: Opened, *, now: datetime | None = None, full: bool = False) -> MeasureCounts:
    """Credit orders and sum up what exposed people spent, back to what may have changed since; ``full``: everything.

    Raises WarehouseError without orders, Unbalanced when money would not add up: then the run says so in the ledger.
    """
    now = now or opened.ledger.now()
    seal.run(opened, now=now)
    scope = _scope(opened, now, full)
    as_of = freshness.watermarks(opened.shop, opened.project.mapping, ["orders"], as_of=now)["orders"]
    as_of = min(now, as_of) if as_of is not None else now
    with opened.ledger.writing() as conn:
        run_id = progress.start_run(conn, None, JOB, as_of=as_of, now=now, start=scope.orders_since)
    tally = _Tally()
    try:
        _credit_orders(opened, scope, tally)
        _sum_up_people(opened, scope, tally)
        with opened.ledger.writing() as conn:
            _settle(conn, scope, tally)
    except Exception as failure:
        with opened.ledger.writing() as conn:
            progress.end_run(conn, run_id, {}, now=now, error=type(failure).__name__)
        raise
    told = MeasureCounts(
        as_of, scope.orders_since, **tally.counts, revenue=dict(tally.revenue), attributed=dict(tally.attributed)
    )
    names = ("orders", "credited", "no_currency", "people", "outcomes", "removed", "revenue", "attributed")
    counters = {name: getattr(told, name) for name in names}
    with opened.ledger.writing() as conn:
        progress.end_run(conn, run_id, counters, now=now)
    rates.run(opened, now=now)
    log.info(
        "measured orders=%d credited=%d people=%d outcomes=%d", told.orders, told.credited, told.people, told.outcomes
    )
    return told


def _scope(opened: Opened, now: datetime, full: bool) -> _Scope:
    """Return how far back this run looks: the last run, less what may change behind it, whole days."""
    settings = opened.settings
    with opened.ledger.reading() as conn:
        last = results.last_run(conn, JOB, failed=False)
        known = progress.campaigns_known(conn)
    windows = _windows(opened, known)
    longest = max((one for by_channel in windows.values() for w in by_channel.values() for one in (w.click, w.delivered)
                   if one is not None), default=timedelta(0))  # fmt: skip
    back = None if full or last is None else min(now, last.as_of) - settings.measure.restate
    zone = settings.brand.zone
    return _Scope(
        now=now,
        zone=zone,
        report_currency=settings.currency,
        currency=None if opened.shop.tables.has("orders", "currency") else settings.currency,
        window=settings.measure.window,
        windows=windows,
        longest=longest,
        orders_since=_EVER if back is None else day_start(back - longest, zone),
        exposed_since=_EVER if back is None else back - settings.measure.window,
    )


def _windows(opened: Opened, known: Collection[str]) -> Windows:
    """Return each campaign's attribution windows; the shop's own for one whose file is broken or gone."""
    default = opened.settings.defaults.attribution
    said: dict[str, Attribution] = dict.fromkeys(known, default)
    said |= {campaign.id: campaign.attribution for campaign in opened.project.campaigns.values()}
    return {
        campaign: {
            channel: TouchWindow(window.click, window.delivered)
            for channel, window in (("email", one.window.email), ("sms", one.window.sms))
        }
        for campaign, one in said.items()
    }


def _credit_orders(opened: Opened, scope: _Scope, tally: _Tally) -> None:
    """Credit every order in scope, a batch at a time."""
    with opened.ledger.reading() as conn:
        first = results.first_engagement(conn) or scope.now
    stream = orders.sales(opened.shop, scope.orders_since, scope.now)
    while batch := list(islice(stream, BATCH)):
        tally.counts["orders"] += len(batch)
        worth = _counted_into_days(batch, scope, tally)
        # Whose an order was does not matter before there was anything to credit it to.
        facts = _facts(opened, [one for one in worth if one[0].ordered_at > first])
        with opened.ledger.reading() as conn:
            ids = {person for order in facts for person in order.people}
            since = min((order.ordered_at for order in facts), default=scope.now) - scope.longest
            felt = results.touches_of(conn, ids, since=since, until=scope.now)
        found = list(credits(facts, felt, scope.windows))
        balance.check_orders(facts, found)
        with opened.ledger.writing() as conn:
            frozen = erasing.frozen_orders(conn, {one.order_id for one in found}, opened.secrets.pepper)
            found = [one for one in found if one.order_id not in frozen]
            results.replace_credits(conn, [sale.order_id for sale in batch], found, now=scope.now)
        tally.counts["credited"] += len(found)
        for credit in found:
            tally.attributed[credit.currency] += credit.net


def _counted_into_days(batch: Sequence[Sale], scope: _Scope, tally: _Tally) -> list[tuple[Sale, str, int]]:
    """Count a batch into the shop's days; return each order with its currency and what is left of it."""
    worth = []
    for sale in batch:
        currency = sale.currency or scope.currency
        if currency is None:
            tally.counts["no_currency"] += 1
            continue
        net = net_amount(sale.total, sale.refunded, undone=sale.undone)
        day = tally.days[day_start(sale.ordered_at, scope.zone), currency]
        day[0] += net > 0
        day[1] += max(0, sale.total)
        day[2] += net
        tally.revenue[currency] += net
        worth.append((sale, currency, net))
    return worth


def _facts(opened: Opened, worth: Sequence[tuple[Sale, str, int]]) -> list[OrderFacts]:
    """Return orders with everybody they may belong to."""
    held = orders.holders(opened.shop, (sale.order_id for sale, _, _ in worth if sale.email))
    named = {sale.customer_id for sale, _, _ in worth if sale.customer_id}
    canonical = people.canonical_ids(opened.shop, named.union(*held.values()))
    every_id: dict[str, list[str]] = defaultdict(list)
    for one, person in sorted(canonical.items()):
        every_id[person].append(one)
    facts = []
    for sale, currency, net in worth:
        owners = {canonical[one] for one in held.get(sale.email or "", set()) | {sale.customer_id or ""} if one}
        whose = tuple(one for person in sorted(owners) for one in every_id[person])
        facts.append(OrderFacts(sale.order_id, whose, sale.ordered_at, currency, max(0, sale.total), net))
    return facts


def _sum_up_people(opened: Opened, scope: _Scope, tally: _Tally) -> None:
    """Write what exposed people spent, a part of them at a time, each canonical person once."""
    with opened.ledger.reading() as conn:
        stream = results.exposures_by_person(conn, since=scope.exposed_since)
        while part := dict(islice(stream, BATCH)):
            _write_outcomes(opened, scope, tally, _by_canonical(opened, part, scope.exposed_since))


def _by_canonical(
    opened: Opened, part: Mapping[str, list[Exposure]], since: datetime
) -> dict[str, tuple[set[str], list[Exposure]]]:
    """Return the people of a part with all their ids and exposures.

    Someone exposed under several ids belongs to the part that has the first of those exposed since ``since``.
    """
    canonical = people.canonical_ids(opened.shop, part)
    ids: dict[str, set[str]] = defaultdict(set)
    for one, person in canonical.items():
        ids[person].add(one)
    others = {one for one in canonical if one not in part}
    exposures = {one: list(theirs) for one, theirs in part.items()}
    if others:
        with opened.ledger.reading() as conn:
            for exposure in results.exposures_of(conn, others):
                exposures.setdefault(exposure.customer_id, []).append(exposure)
    found = {}
    for person, theirs in ids.items():
        under = sorted(one for one in theirs if one in exposures)
        recent = (one for one in under if any(exposure.exposed_at >= since for exposure in exposures[one]))
        if next(recent, None) in part:
            found[person] = (theirs, [exposure for one in under for exposure in exposures[one]])
    return found


def _write_outcomes(
    opened: Opened, scope: _Scope, tally: _Tally, exposed: Mapping[str, tuple[set[str], list[Exposure]]]
) -> None:
    owner = {one: person for person, (ids, _) in exposed.items() for one in ids}
    first = min((one.exposed_at for _, theirs in exposed.values() for one in theirs), default=scope.now)
    bought = _purchases(opened, scope, owner, first)
    found = [
        outcome
        for person, (_, theirs) in sorted(exposed.items())
        for outcome in outcomes(person, theirs, bought.get(person, ()), scope.window, scope.report_currency)
    ]
    with opened.ledger.writing() as conn:
        results.replace_outcomes_of(conn, owner, found, now=scope.now)
    tally.counts.update(people=len(exposed), outcomes=len(found))


def _purchases(opened: Opened, scope: _Scope, owner: Mapping[str, str], since: datetime) -> dict[str, list[Purchase]]:
    """Return what each person bought since a moment, every order once, under any id or address of theirs."""
    addresses = orders.addresses(opened.shop, owner)
    found: dict[str, dict[str, Purchase]] = defaultdict(dict)
    for sale in orders.sales_of(opened.shop, owner.keys(), since, scope.now):
        currency = sale.currency or scope.currency
        if currency is None:
            continue
        under = {owner[one] for one in addresses.get(sale.email or "", ())}
        if sale.customer_id and sale.customer_id in owner:
            under.add(owner[sale.customer_id])
        net = net_amount(sale.total, sale.refunded, undone=sale.undone)
        for person in under:
            found[person][sale.order_id] = Purchase(sale.ordered_at, currency, net)
    return {person: list(theirs.values()) for person, theirs in found.items()}


def _settle(conn: Connection, scope: _Scope, tally: _Tally) -> None:
    """Replace the shop's revenue by day, drop what no longer holds, and check that the whole adds up."""
    days = [RevenueDay(day, currency, *sums) for (day, currency), sums in sorted(tally.days.items())]
    results.replace_revenue_days(conn, days, start=scope.orders_since)
    tally.counts["removed"] = results.sweep(
        conn, orders_since=scope.orders_since, exposed_since=scope.exposed_since, now=scope.now
    )
    credited, earned = results.credited_and_earned(conn, since=scope.orders_since)
    balance.check_totals(credited, earned)
