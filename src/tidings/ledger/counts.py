"""What became of the entries of a period: every count is about the same entries, so the counts add up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    CTE,
    Boolean,
    ColumnElement,
    CompoundSelect,
    Connection,
    FromClause,
    String,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)

from tidings.ledger.schema import engagements, entries, messages, runs
from tidings.model.engagement import EngagementKind
from tidings.model.message import Space, Status

_COUNTED = (
    EngagementKind.DELIVERED,
    EngagementKind.CLICKED,
    EngagementKind.BOUNCED,
    EngagementKind.COMPLAINED,
    EngagementKind.UNSUBSCRIBED,
)


@dataclass(slots=True)
class Funnel:
    """One campaign's entries whose ``entered_at`` lies in the period, and what became of their messages.

    ``messages = sent + held_out + open + unknown + failed + expired + skipped + cancelled``. ``planned`` is
    the part of them that planning did not refuse at once; ``refused`` are the others by reason (they are in
    ``skipped`` and ``expired`` as well, ``refused_expired`` of them in the latter). ``unknown`` contains
    presumed_lost; ``open`` is waiting or under way. ``delivered`` to ``unsubscribed`` count distinct messages,
    machines left out; ``recipients`` are distinct persons sent to.
    """

    campaign: str
    found: int = 0
    found_held_out: int = 0
    messages: int = 0
    planned: int = 0
    sent: int = 0
    held_out: int = 0
    open: int = 0
    unknown: int = 0
    failed: int = 0
    expired: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    refused_expired: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    cancelled: dict[str, int] = field(default_factory=dict)
    sent_by_channel: dict[str, int] = field(default_factory=dict)
    delivered: int = 0
    clicked: int = 0
    bounced: int = 0
    complained: int = 0
    unsubscribed: int = 0
    recipients: int = 0


@dataclass(slots=True)
class RunTotals:
    """The frozen counters of one campaign's planning runs, added up."""

    campaign: str
    runs: int = 0
    found: int = 0
    new: int = 0
    known: int = 0
    planned: int = 0
    held_out: int = 0
    expired: int = 0
    skipped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job, with its counters."""

    id: str
    job: str
    campaign: str
    space: str
    as_of: datetime
    window_start: datetime | None
    started_at: datetime
    ended_at: datetime | None
    counters: dict[str, Any]
    error: str | None


def _cohort(
    campaigns: Collection[str] | None, start: datetime, end: datetime, space: str
) -> tuple[ColumnElement[bool], ...]:
    e = entries.c
    period = (e.space == space, e.entered_at >= start, e.entered_at < end)
    return period if campaigns is None else (*period, e.campaign.in_(sorted(campaigns)))


def funnel(
    conn: Connection,
    campaigns: Collection[str] | None,
    start: datetime,
    end: datetime,
    *,
    space: str = Space.LIVE,
    persons: bool = True,
) -> dict[str, Funnel]:
    """Return what became of the entries of ``[start, end)``, by campaign; None means every campaign.

    Without ``persons`` the ``recipients`` stay 0: they cost a pass of their own.
    """
    e, cohort = entries.c, _cohort(campaigns, start, end, space)
    found: dict[str, Funnel] = {name: Funnel(name) for name in campaigns or ()}
    for campaign, arm, count in conn.execute(
        select(e.campaign, e.arm, func.count()).where(*cohort).group_by(e.campaign, e.arm)
    ):
        one = found.setdefault(campaign, Funnel(campaign))
        one.found += count
        if arm == "held_out":
            one.found_held_out += count
    for campaign, acts, status, reason, channel, kept, count in conn.execute(_became(conn.dialect.name, cohort)):
        if status is not None:
            _add_messages(found[campaign], Status(status), reason, channel, kept, count)
        elif acts is not None:
            _add_acts(found[campaign], acts, count)
    if persons:
        for campaign, count in _recipients(conn, cohort).items():
            found[campaign].recipients = count
    return found


def _became(dialect: str, cohort: tuple[ColumnElement[bool], ...]) -> CompoundSelect[Any]:
    """Return a query for what became of a cohort's messages, then for what was done with them, in one reading."""
    e, m = entries.c, messages.c
    # A replay plans and dispatches at the same told moment, so a token is proof that planning let it through.
    kept = or_(
        m.ended_at.is_(None),
        m.ended_at > e.planned_at,
        m.sending_at.is_not(None),
        m.token.is_not(None),
        m.status == Status.CANCELLED,
    )
    of_cohort = (
        select(e.campaign, m.id, m.status, m.reason, m.channel, kept.label("kept"))
        .join(messages, m.entry_id == e.id)
        .where(*cohort)
        .cte("of_cohort")
        .prefix_with("MATERIALIZED")
    )
    c, nothing = of_cohort.c, cast(null(), String)
    ends = (c.status, c.reason, c.channel, c.kept)
    acted = _acted(dialect, of_cohort)
    return union_all(
        select(c.campaign, nothing.label("acts"), *ends, func.count().label("count")).group_by(c.campaign, *ends),
        select(acted.c.campaign, acted.c.acts, nothing, nothing, nothing, cast(null(), Boolean), func.count()).group_by(
            acted.c.campaign, acted.c.acts
        ),
    )


def _acted(dialect: str, of_cohort: CTE) -> FromClause:
    """Return what was done with each message, each thing once, machines left out: one row a thing, or a list of them.

    PostgreSQL hashes all engagements once; SQLite would sort them, and looks up each message's instead.
    """
    g, c = engagements.c, of_cohort.c
    people = g.machine == false()
    if dialect == "sqlite":
        acts = select(func.group_concat(g.kind.distinct())).where(g.message_id == c.id, people).scalar_subquery()
        # Materialised, or it is looked up again for each clause that names it.
        return select(c.campaign, acts.label("acts")).cte("acted").prefix_with("MATERIALIZED")
    acted = select(c.campaign, g.kind.label("acts"), g.message_id).join(engagements, g.message_id == c.id)
    return acted.where(g.kind.in_(_COUNTED), people).distinct().subquery("acted")


def _add_messages(one: Funnel, status: Status, reason: str | None, channel: str, kept: bool, count: int) -> None:
    one.messages += count
    if kept:
        one.planned += count
    else:
        why = reason or status
        one.refused[why] = one.refused.get(why, 0) + count
        one.refused_expired += count if status == Status.EXPIRED else 0
    _add(one, status, reason, channel, count)


def _add_acts(one: Funnel, acts: str, count: int) -> None:
    for kind in _COUNTED:
        if kind in acts.split(","):
            setattr(one, kind, getattr(one, kind) + count)


def _add(one: Funnel, status: Status, reason: str | None, channel: str, count: int) -> None:
    match status:
        case Status.PLANNED | Status.CLAIMED | Status.SENDING:
            one.open += count
        case Status.SENT:
            one.sent += count
            one.sent_by_channel[channel] = one.sent_by_channel.get(channel, 0) + count
        case Status.HELD_OUT:
            one.held_out += count
        case Status.SKIPPED:
            one.skipped[reason or ""] = one.skipped.get(reason or "", 0) + count
        case Status.CANCELLED:
            one.cancelled[reason or ""] = one.cancelled.get(reason or "", 0) + count
        case Status.EXPIRED:
            one.expired += count
        case Status.FAILED:
            one.failed += count
        case Status.UNKNOWN | Status.PRESUMED_LOST:
            one.unknown += count


def recipients(
    conn: Connection, campaigns: Collection[str] | None, start: datetime, end: datetime, *, space: str = Space.LIVE
) -> int:
    """Return how many distinct persons the entries of the period were sent to, all these campaigns together."""
    query = select(func.count(entries.c.customer_id.distinct()))
    return conn.execute(query.where(*_cohort(campaigns, start, end, space), _sent())).scalar_one()


def _sent() -> ColumnElement[bool]:
    """Return the condition that an entry's person was sent to: the messages of an entry are all to its person."""
    return exists().where(messages.c.entry_id == entries.c.id, messages.c.status == Status.SENT)


@dataclass(frozen=True, slots=True)
class Persons:
    """Distinct persons sent to in a period, and in the one before it."""

    now: int = 0
    before: int = 0


def persons_sent_to(
    conn: Connection, before: datetime, start: datetime, end: datetime, *, space: str = Space.LIVE
) -> dict[str, Persons]:
    """Return the persons sent to by campaign; under "" the whole shop's, each counted once."""
    e = entries.c
    later = case((e.entered_at >= start, 1), else_=0).label("later")
    cohort = _cohort(None, before, end, space)
    # Materialised before it is grouped: SQLite would read all entries of all time in the order of the groups.
    sent = select(e.campaign, e.customer_id, later).where(*cohort, _sent()).cte("sent").prefix_with("MATERIALIZED")
    periods = func.max(sent.c.later).label("now"), func.max(1 - sent.c.later).label("before")
    each = select(sent.c.campaign, sent.c.customer_id, *periods).group_by(sent.c.customer_id, sent.c.campaign)
    once = each.cte("once").prefix_with("MATERIALIZED")
    somewhere = select(func.max(once.c.now).label("now"), func.max(once.c.before).label("before"))
    everybody = somewhere.group_by(once.c.customer_id).subquery("everybody").c
    sums = union_all(
        select(once.c.campaign, func.sum(once.c.now), func.sum(once.c.before)).group_by(once.c.campaign),
        select(literal(""), func.sum(everybody.now), func.sum(everybody.before)),
    )
    return {row[0]: Persons(int(row[1] or 0), int(row[2] or 0)) for row in conn.execute(sums)}


def _recipients(conn: Connection, cohort: tuple[ColumnElement[bool], ...]) -> dict[str, int]:
    e = entries.c
    query = select(e.campaign, func.count(e.customer_id.distinct())).where(*cohort, _sent())
    return {row[0]: row[1] for row in conn.execute(query.group_by(e.campaign))}


def run_totals(
    conn: Connection,
    campaigns: Collection[str] | None,
    start: datetime,
    end: datetime,
    *,
    space: str = Space.LIVE,
) -> dict[str, RunTotals]:
    """Return the counters of the planning runs up to a moment in ``[start, end)``, added up by campaign."""
    r = runs.c
    query = select(r.campaign, r.counters).where(
        r.job == "plan", r.space == space, r.ended_at.is_not(None), r.as_of >= start, r.as_of < end
    )
    if campaigns is not None:
        query = query.where(r.campaign.in_(sorted(campaigns)))
    found: dict[str, RunTotals] = {name: RunTotals(name) for name in campaigns or ()}
    skipped: dict[str, Counter[str]] = defaultdict(Counter)
    for campaign, counters in conn.execute(query):
        one, told = found.setdefault(campaign, RunTotals(campaign)), orjson.loads(counters)
        one.runs += 1
        for name in ("found", "new", "known", "planned", "held_out", "expired"):
            setattr(one, name, getattr(one, name) + int(told.get(name) or 0))
        skipped[campaign].update(told.get("skipped") or {})
    for campaign, reasons in skipped.items():
        found[campaign].skipped = dict(reasons)
    return found


def last_run(conn: Connection, job: str, campaign: str = "", *, ended: bool = True, failed: bool = True) -> Run | None:
    """Return the latest run of a job (of a campaign), by default the latest that ended, well or not."""
    r = runs.c
    query = select(runs).where(r.job == job, r.campaign == campaign).order_by(r.started_at.desc(), r.id).limit(1)
    if not failed:
        query = query.where(r.error.is_(None))
    row = conn.execute(query.where(r.ended_at.is_not(None)) if ended else query).one_or_none()
    return None if row is None else _run(row)


def latest_runs(conn: Connection, *, since: datetime, space: str = Space.LIVE) -> list[Run]:
    """Return the latest run of every job and campaign that began since a moment."""
    r = runs.c
    turn = func.row_number().over(partition_by=(r.job, r.campaign), order_by=(r.started_at.desc(), r.id))
    ranked = select(runs, turn.label("turn")).where(r.started_at >= since, r.space == space).subquery("ranked")
    query = select(ranked).where(ranked.c.turn == 1).order_by(ranked.c.job, ranked.c.campaign)
    return [_run(row) for row in conn.execute(query)]


def _run(row: Any) -> Run:
    return Run(
        row.id, row.job, row.campaign, row.space, row.as_of, row.window_start, row.started_at, row.ended_at,
        orjson.loads(row.counters), row.error,
    )  # fmt: skip
