"""Bounce and complaint rates against their brakes: a warning is told once a day, a stop holds until a person looks."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction

from tidings.jobs.opening import Opened
from tidings.ledger import brakes, rates
from tidings.ledger.rates import GivenRate, Tally
from tidings.model.people import Channel
from tidings.plan.mailboxes import SILENT
from tidings.settings.policy import RateBrake

log = logging.getLogger(__name__)

# Whatever the volume, one or two angry people are no rate.
FEWEST = 3
# What mailbox providers say about a day is late by a day or two; older words are no reason to stop today.
GIVEN_LASTS = timedelta(days=7)
BY = "rates"


@dataclass(frozen=True, slots=True)
class Rate:
    """One rate of one scope, and the words for it. ``few``: too few messages or cases to say anything."""

    scope: str
    kind: str
    cases: int
    of: int
    share: Fraction
    few: bool = False


@dataclass(frozen=True, slots=True)
class RateCounts:
    """What one look found: the scopes that were stopped and warned about by it."""

    looked: bool = False
    stopped: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()


@dataclass(slots=True)
class _Sum:
    delivered: Counter[str] = field(default_factory=Counter)
    bounced: Counter[str] = field(default_factory=Counter)
    complained: Counter[str] = field(default_factory=Counter)
    reporting: Counter[str] = field(default_factory=Counter)


def run(opened: Opened, *, now: datetime | None = None, every: timedelta | None = None) -> RateCounts:
    """Hold every rate against its brake; with ``every``, only if nobody has done so for that long.

    A brake is pulled, and its event written, in one transaction; one that is on already is left alone.
    """
    now = now or opened.ledger.now()
    if every is not None:
        with opened.ledger.writing() as conn:
            if not rates.take_turn(conn, now=now, not_since=now - every):
                return RateCounts()
    found = list(current(opened, now))
    stopped, warned = [], []
    with opened.ledger.writing() as conn:
        for rate in found:
            limits = _limits(opened, rate.kind)
            if rate.few or rate.share < limits.warn:
                continue
            stops = rate.share >= limits.stop
            told = {"reason": _reason(rate, limits), "remedy": _remedy(rate, stops=stops), "at": now, "by": BY}
            if stops:
                if brakes.pull(conn, rate.scope, **told):  # type: ignore[arg-type]
                    stopped.append(rate.scope)
            elif brakes.warn(conn, rate.scope, **told):  # type: ignore[arg-type]
                warned.append(rate.scope)
    if stopped or warned:
        level = logging.ERROR if stopped else logging.INFO
        log.log(level, "rates stopped=%s warned=%s", ",".join(stopped) or "-", ",".join(warned) or "-")
    return RateCounts(True, tuple(stopped), tuple(warned))


def current(opened: Opened, now: datetime) -> Iterator[Rate]:
    """Yield the rates of every scope as of now; each scope counts from its last release on."""
    for kind in ("complaints", "bounces"):
        limits = _limits(opened, kind)
        since = now - limits.over
        with opened.ledger.reading() as conn:
            fresh = {scope: at for scope, at in brakes.released_since(conn, since).items() if at <= now}
            by_start = {at: rates.tallies(conn, since=at) for at in {since, *fresh.values()}}
        everything = measured(by_start[since], kind, limits.at_least)
        yield from (rate for rate in everything if rate.scope not in fresh)
        for scope, at in fresh.items():
            yield from (rate for rate in measured(by_start[at], kind, limits.at_least) if rate.scope == scope)
    with opened.ledger.reading() as conn:
        released = brakes.released_since(conn, now - GIVEN_LASTS)
        given = rates.given_rates(conn, since=now - GIVEN_LASTS)
    yield from published(one for one in given if one.day >= released.get(f"mailbox:{one.mailbox}", one.day))


def measured(found: Iterable[Tally], kind: str, at_least: int) -> list[Rate]:
    """Return the rates of every campaign, channel and mailbox provider.

    Complaints are held against deliveries to mailboxes that tell of complaints: Gmail tells of none, and its
    deliveries would make every rate look better than it is.
    """
    sums = _Sum()
    for one in found:
        scopes = [f"campaign:{one.campaign}", f"marketing:{one.channel}"]
        if one.channel == Channel.EMAIL and one.mailbox:
            scopes.append(f"mailbox:{one.mailbox}")
        for scope in scopes:
            sums.delivered[scope] += one.delivered
            sums.bounced[scope] += one.bounced
            if one.mailbox not in SILENT:
                sums.reporting[scope] += one.delivered
                sums.complained[scope] += one.complained
    cases, base = (sums.complained, sums.reporting) if kind == "complaints" else (sums.bounced, None)
    return [_rate(scope, kind, cases[scope], _of(sums, scope, base), at_least) for scope in sorted(sums.delivered)]


def _of(sums: _Sum, scope: str, base: Counter[str] | None) -> int:
    return base[scope] if base is not None else sums.delivered[scope] + sums.bounced[scope]


def _rate(scope: str, kind: str, cases: int, of: int, at_least: int) -> Rate:
    few = of < at_least or cases < FEWEST
    return Rate(scope, kind, cases, of, Fraction(cases, of) if of else Fraction(0), few)


def published(given: Iterable[GivenRate]) -> list[Rate]:
    """Return the complaint rates that mailbox providers published: of each its worst domain, the mean of its days."""
    days: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in given:
        days[one.mailbox, one.domain].append(one.rate)
    worst: dict[str, Rate] = {}
    for (mailbox, _), shares in sorted(days.items()):
        mean = Fraction(sum(shares) / len(shares)).limit_denominator(1_000_000)
        if mailbox not in worst or mean > worst[mailbox].share:
            worst[mailbox] = Rate(f"mailbox:{mailbox}", "complaints", 0, len(shares), mean)
    return list(worst.values())


def _limits(opened: Opened, kind: str) -> RateBrake:
    found: RateBrake = getattr(opened.settings.brakes, kind)
    return found


def _reason(rate: Rate, limits: RateBrake) -> str:
    share = f"{float(rate.share * 100):.2f} %"
    limit = limits.stop if rate.share >= limits.stop else limits.warn
    if rate.cases:
        told = f"{share} {_WORDS[rate.kind]} ({rate.cases:,} of {rate.of:,} delivered in {limits.over.days} days)"
    else:
        told = f"{share} {_WORDS[rate.kind]} in the mailbox provider's own figures, the mean of {rate.of} days"
    return f"{told}; the limit is {float(limit * 100):g} %"


_WORDS = {"complaints": "complaints", "bounces": "hard bounces"}
_REMEDIES: Mapping[str, str] = {
    "complaints": "Look at whom {who} writes to and how often: tighten the trigger, lengthen its cooldown, write only "
    "to people who clicked lately",
    "bounces": "Look at where the addresses come from: a stale import or a sign-up form without confirmation; take "
    "dead addresses out of the customer table",
}


def _remedy(rate: Rate, *, stops: bool) -> str:
    what = rate.scope.removeprefix("campaign:")
    kind, _, name = rate.scope.partition(":")
    who = {"campaign": f"the campaign {name}", "marketing": "the shop", "mailbox": "the shop"}[kind]
    then = f"; then run `tidings resume {what}`, and counting begins anew." if stops else "."
    return _REMEDIES[rate.kind].format(who=who) + then
