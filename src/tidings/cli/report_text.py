"""How a report reads in a terminal: the money first, then where messages went, and no figure that is not proven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from textwrap import wrap
from zoneinfo import ZoneInfo

from tidings.cli.printing import DASH, WIDTH, counted, line, moment, money, number, table
from tidings.jobs.measure import MeasureCounts
from tidings.measure.figures import Figures, Incremental, Report, Verdict

_TITLE = 22
_UNSAID = {
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.NOT_ENOUGH: "not enough data",
    Verdict.NOT_MEASURED: "not measured",
}


def print_measured(counts: MeasureCounts, zone: str) -> None:
    """Print what a measuring run counted."""
    line(f"orders     {number(counts.orders):>9}  {number(counts.credited)} credited to a message")
    if counts.no_currency:
        line(f"unreadable {number(counts.no_currency):>9}  no currency")
    line(f"people     {number(counts.people):>9}  were or would have been written to")
    if counts.removed:
        line(f"removed    {number(counts.removed):>9}  no longer hold")
    for currency, revenue in sorted(counts.revenue.items()):
        attributed = money(counts.attributed.get(currency, 0), currency)
        line(f"{currency}        {money(revenue, currency):>9}  {attributed} credited to messages")
    # A first run begins at the beginning of time, which is nobody's date.
    since = f"orders since {moment(counts.since, zone)}" if counts.since.timestamp() else "all orders"
    line(f"Measured as of {moment(counts.as_of, zone)}, {since}.")


def print_report(found: Report) -> None:
    """Print a report."""
    everyone = (*found.campaigns, found.totals)
    line(_period(found), dim=True)
    line("")
    _money_table(("Campaign", "Sent", "Attributed", "Incremental", "95% interval"), everyone, found.currency)
    line("")
    table(
        ("Campaign", "Found", "Planned", "Sent", "Held out", "Not sent", "Open", "Delivered", "Clicked"),
        [_went(one) for one in everyone],
    )
    line("")
    table(
        ("Campaign", "Orders", "Recipients", "Per recipient", "Treated", "people", "Held out", "people"),
        [_per_person(one, found.currency) for one in everyone],
    )
    line("Treated, held out: all they spent per person, whether or not they were written to in the end.", dim=True)
    _notes(found)
    line("")
    for alert in found.alerts:
        _wrapped(alert)
    line(_conclusion(found))


def _money_table(header: tuple[str, ...], everyone: Sequence[Figures], currency: str) -> None:
    """Print who earned what; intervals stand under their header's first letter."""
    rows = [_earned(one, currency) for one in everyone]
    width = max(len(row[-1]) for row in (header, *rows))
    table((*header[:-1], header[-1].ljust(width)), [(*row[:-1], row[-1].ljust(width)) for row in rows])


def _period(found: Report) -> str:
    zone = ZoneInfo(found.zone)
    first, last = found.start.astimezone(zone).date(), found.end.astimezone(zone).date() - timedelta(days=1)
    others = [code for code in found.currencies if code != found.currency]
    apart = f"  ({', '.join(others)} apart: --currency)" if others else ""
    return f"{first.day} {first:%b %Y} to {last.day} {last:%b %Y}  {found.zone}  {found.currency}  {found.model}{apart}"


def _title(one: Figures) -> str:
    return one.title if len(one.title) <= _TITLE else f"{one.title[: _TITLE - 1].rstrip()}…"


def _earned(one: Figures, currency: str) -> tuple[str, ...]:
    return (_title(one), number(one.sent), money(one.revenue, currency), *_incremental(one.incremental, currency))


def _incremental(found: Incremental | None, currency: str) -> tuple[str, str]:
    """Return the incremental amount, or why there is none, and its interval."""
    if found is None:
        return _UNSAID[Verdict.NOT_MEASURED], DASH
    if found.suspect:
        return "check the split", DASH
    said = _UNSAID.get(found.verdict) or money(found.total, currency, sign=True)
    if found.total_low is None or found.total_high is None:
        return said, DASH
    return said, f"{money(found.total_low, currency)} to {money(found.total_high, currency)}"


def _went(one: Figures) -> tuple[str, ...]:
    counts = (one.found, one.planned, one.sent, one.held_out, one.not_sent, one.open, one.delivered, one.clicked)
    return (_title(one), *(number(count) for count in counts))


def _per_person(one: Figures, currency: str) -> tuple[str, ...]:
    found = one.incremental
    counts = (number(one.orders), number(one.recipients), money(one.revenue_per_recipient, currency))
    if found is None or not found.held_out.persons:
        return (_title(one), *counts, DASH, DASH, DASH, DASH)
    arms = (found.treated, found.held_out)
    sides = [text for arm in arms for text in (money(arm.per_person, currency), number(arm.persons))]
    return (_title(one), *counts, *sides)


def _notes(found: Report) -> None:
    """Print why messages were not planned or sent, and what the comparison cannot say yet."""
    line("")
    for one in found.campaigns:
        ends = {"expired": one.expired, "failed": one.failed, "unknown": one.unknown}
        _reasons(f"{one.title}, not planned: ", one.refused)
        _reasons(f"{one.title}, not sent: ", {**one.skipped, **_cancelled(one), **ends})
    open_windows = [one.title for one in found.campaigns if one.incremental is not None and one.incremental.maturing]
    if open_windows:
        _wrapped(f"Not all people's time has passed, so this may still change: {', '.join(open_windows)}.", dim=True)
    total = found.totals.incremental
    if total is not None and total.left_out:
        titles = {one.campaign: one.title for one in found.campaigns}
        named = ", ".join(titles.get(campaign, campaign) for campaign in total.left_out)
        _wrapped(f"Incremental of all campaigns leaves out what says nothing yet: {named}.", dim=True)


def _cancelled(one: Figures) -> dict[str, int]:
    return {f"cancelled({why})": many for why, many in one.cancelled.items()}


def _reasons(before: str, reasons: Mapping[str, int]) -> None:
    ranked = sorted(((why, many) for why, many in reasons.items() if many), key=lambda one: (-one[1], one[0]))
    if ranked:
        _wrapped(before + ", ".join(f"{why} {number(many)}" for why, many in ranked), dim=True)


def _wrapped(text: str, *, dim: bool = False) -> None:
    for part in wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False):
        line(part, dim=dim)


def _conclusion(found: Report) -> str:
    credited = money(found.totals.revenue, found.currency)
    whole = f"{money(found.total_revenue, found.currency)} ({counted(found.total_orders, 'order')})"
    measured = f" Measured {moment(found.as_of, found.zone)}." if found.as_of else ""
    return f"{credited} of {whole} is credited to messages.{measured}"
