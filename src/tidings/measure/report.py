"""The report of a period: read from the ledger alone, so that every door prints the same figures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from enum import Enum
from fractions import Fraction
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection

from tidings.definitions import Project
from tidings.ledger import counts, earnings, results
from tidings.ledger.earnings import ArmSpending, Earned
from tidings.ledger.store import Ledger
from tidings.measure import lift
from tidings.measure.alerts import alerts
from tidings.measure.calendar import day_end, day_of, day_start, midnight
from tidings.measure.figures import Arm, DayRevenue, Figures, Incremental, Report
from tidings.measure.total import total as total_incremental

MODEL = "last touch"
ALL = "All campaigns"


@dataclass(frozen=True, slots=True)
class _Period:
    """Whole days of the shop, and as many before them."""

    start: datetime
    end: datetime
    before: datetime
    zone: str
    currency: str


@dataclass(frozen=True, slots=True)
class _Read:
    """Everything the ledger says about a period."""

    funnels: Mapping[str, counts.Funnel]
    credited: Mapping[str, Earned]
    credited_before: Mapping[str, Earned]
    persons: Mapping[str, counts.Persons]
    spending: Mapping[str, Mapping[str, ArmSpending]]


def build(
    ledger: Ledger,
    project: Project,
    *,
    start: datetime,
    end: datetime,
    currency: str | None = None,
    now: datetime,
) -> Report:
    """Return the figures of ``[start, end)``, widened to whole days of the shop, in one currency (default: its own).

    The funnel is about the entries of the period, revenue about the orders placed in it, and the comparison about
    the people first exposed in it. Raises DefinitionError when tidings.yaml cannot be read.
    """
    settings = project.settings
    period = _period(start, end, settings.brand.zone, currency or settings.currency)
    with ledger.reading() as conn:
        last = results.last_run(conn, "measure", failed=False)
        as_of = last.as_of if last is not None else None
        read = _read(conn, period)
        figures = _campaigns(project, read, as_of or now)
        titles = {one.campaign: one.title for one in figures}
        shop = earnings.shop_total(conn, period.start, period.end, period.currency)
        return Report(
            shop=settings.shop,
            zone=period.zone,
            currency=period.currency,
            currencies=tuple(earnings.currencies(conn, period.start, period.end)),
            start=period.start,
            end=period.end,
            before_start=period.before,
            as_of=as_of,
            model=MODEL,
            holdouts={one.id: float(one.holdout) for one in project.campaigns.values()},
            campaigns=figures,
            totals=_totals(read, figures),
            days=_days(conn, period),
            total_revenue=shop.revenue,
            total_orders=shop.orders,
            alerts=tuple(alerts(conn, now=now, zone=period.zone, titles=titles, as_of=as_of)),
        )


def _period(start: datetime, end: datetime, zone: str, currency: str) -> _Period:
    start, end = day_start(start, zone), day_end(end, zone)
    days = day_of(end, zone) - day_of(start, zone)
    return _Period(start, end, midnight(day_of(start, zone) - days, zone), zone, currency)


def _read(conn: Connection, period: _Period) -> _Read:
    start, end, before, currency = period.start, period.end, period.before, period.currency
    return _Read(
        funnels=results.funnel(conn, None, start, end, persons=False),
        credited=earnings.credited(conn, start, end, currency),
        credited_before=earnings.credited(conn, before, start, currency),
        persons=counts.persons_sent_to(conn, before, start, end),
        spending=earnings.spending(conn, start, end, currency),
    )


def _campaigns(project: Project, read: _Read, as_of: datetime) -> tuple[Figures, ...]:
    """Return every campaign of the project, then those that the ledger alone knows, so that nothing is left out."""
    known = {one.id: one for one in project.campaigns.values()}
    facts: tuple[Mapping[str, object], ...] = (
        read.funnels, read.credited, read.credited_before, read.spending, read.persons
    )  # fmt: skip
    gone = sorted({campaign for told in facts for campaign in told if campaign} - known.keys())
    found = [
        _figures(one.id, one.title, one.mode, read, _compared(read.spending.get(one.id, {}), one.holdout, as_of))
        for one in sorted(known.values(), key=lambda one: one.title)
    ]
    found += [
        _figures(campaign, campaign, "gone", read, _compared(read.spending.get(campaign, {}), None, as_of))
        for campaign in gone
    ]
    return tuple(found)


def _figures(campaign: str, title: str, mode: str, read: _Read, incremental: Incremental) -> Figures:
    funnel = read.funnels.get(campaign, counts.Funnel(campaign))
    earned, before = read.credited.get(campaign, Earned()), read.credited_before.get(campaign, Earned())
    persons = read.persons.get(campaign, counts.Persons())
    later = Counter(funnel.skipped)
    later.subtract({why: many for why, many in funnel.refused.items() if why in funnel.skipped})
    return Figures(
        campaign=campaign,
        title=title,
        mode=mode,
        found=funnel.found,
        planned=funnel.planned,
        sent=funnel.sent,
        held_out=funnel.held_out,
        open=funnel.open,
        unknown=funnel.unknown,
        failed=funnel.failed,
        expired=funnel.expired - funnel.refused_expired,
        refused=_ranked(funnel.refused),
        skipped=_ranked(later),
        cancelled=_ranked(funnel.cancelled),
        sent_by_channel=dict(sorted(funnel.sent_by_channel.items())),
        delivered=funnel.delivered,
        clicked=funnel.clicked,
        bounced=funnel.bounced,
        complained=funnel.complained,
        unsubscribed=funnel.unsubscribed,
        recipients=persons.now,
        orders=earned.orders,
        revenue=earned.revenue,
        revenue_before=before.revenue,
        orders_before=before.orders,
        recipients_before=persons.before,
        incremental=incremental,
    )


def _ranked(reasons: Mapping[str, int]) -> dict[str, int]:
    """Return reasons that happened, the most frequent first."""
    return {why: many for why, many in sorted(reasons.items(), key=lambda one: (-one[1], one[0])) if many}


def _compared(arms: Mapping[str, ArmSpending], holdout: Fraction | None, as_of: datetime) -> Incremental:
    treated, held_out = arms.get("treated", ArmSpending()), arms.get("held_out", ArmSpending())
    ends = [one.last_window_ends_at for one in (treated, held_out) if one.last_window_ends_at is not None]
    return _comparison(
        treated.persons, tuple(treated.amounts), held_out.persons, tuple(held_out.amounts),
        holdout, any(end > as_of for end in ends),
    )  # fmt: skip


@lru_cache(maxsize=128)
def _comparison(
    treated: int, treated_amounts: tuple[int, ...], held_out: int, held_out_amounts: tuple[int, ...],
    holdout: Fraction | None, maturing: bool,
) -> Incremental:  # fmt: skip
    """Return a comparison; dealing amounts anew takes a moment, and a page asks for the same ones again and again."""
    return lift.compare(
        lift.Spending(treated, treated_amounts),
        lift.Spending(held_out, held_out_amounts),
        holdout=holdout,
        maturing=maturing,
    )


_SUMMED = (
    "found", "planned", "sent", "held_out", "open", "unknown", "failed", "expired", "delivered", "clicked", "bounced",
    "complained", "unsubscribed", "orders", "revenue",
)  # fmt: skip


def _totals(read: _Read, figures: tuple[Figures, ...]) -> Figures:
    """Return the whole shop's line: sums, but persons counted once whatever number of campaigns wrote to them."""
    persons = read.persons.get("", counts.Persons())
    return Figures(
        campaign="",
        title=ALL,
        mode="",
        **{name: sum(getattr(one, name) for one in figures) for name in _SUMMED},
        refused=_ranked(_added(one.refused for one in figures)),
        skipped=_ranked(_added(one.skipped for one in figures)),
        cancelled=_ranked(_added(one.cancelled for one in figures)),
        sent_by_channel=dict(sorted(_added(one.sent_by_channel for one in figures).items())),
        recipients=persons.now,
        revenue_before=sum(one.revenue_before or 0 for one in figures),
        orders_before=sum(one.orders_before or 0 for one in figures),
        recipients_before=persons.before,
        incremental=total_incremental({one.campaign: one.incremental for one in figures if one.incremental}),
    )


def _added(mappings: Iterable[Mapping[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in mappings:
        found.update(one)
    return found


def _days(conn: Connection, period: _Period) -> tuple[DayRevenue, ...]:
    """Return attributed revenue by the shop's own days, only days and campaigns with some."""
    sums: dict[tuple[date, str], list[int]] = defaultdict(lambda: [0, 0])
    for campaign, at, net in earnings.credit_moments(conn, period.start, period.end, period.currency):
        day = sums[day_of(at, period.zone), campaign]
        day[0] += net
        day[1] += 1
    return tuple(DayRevenue(day, campaign, *found) for (day, campaign), found in sorted(sums.items()))


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as plain values for JSON: the same keys always, money as whole minor units.

    What the read model works out (``not_sent``, ``revenue_per_recipient``, an arm's ``per_person``) is in it.
    """
    plain: dict[str, Any] = _plain(asdict(report))
    plain["campaigns"] = [_figures_json(one) for one in report.campaigns]
    plain["totals"] = _figures_json(report.totals)
    return plain


def _figures_json(one: Figures) -> dict[str, Any]:
    plain: dict[str, Any] = _plain(asdict(one))
    plain |= {"not_sent": one.not_sent, "revenue_per_recipient": one.revenue_per_recipient}
    if one.incremental is not None:
        for name in ("treated", "held_out"):
            arm: Arm = getattr(one.incremental, name)
            plain["incremental"][name]["per_person"] = arm.per_person
    return plain


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case datetime() | date():
            return value.isoformat()
        case Enum():
            return value.value
    return value
