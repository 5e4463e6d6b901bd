"""Commands that send and measure: what is due now, and what it earned."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from tidings.cli.options import HERE, AsJson, ProjectDir, day
from tidings.cli.printing import DASH, facts, line, moment, money, number, status, table, working

if TYPE_CHECKING:
    from tidings.jobs.dispatch import DispatchCounts
    from tidings.measure.figures import Figures, Report


_COUNTS = ("sent", "held_out", "deferred", "retried", "expired", "failed", "unknown", "let_go", "lost")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(dispatch)
    app.command()(measure)
    app.command("attribute", hidden=True)(measure)
    app.command()(report)


def dispatch(
    seconds: Annotated[
        float, typer.Option("--for", metavar="SECONDS", min=1, help="Stop claiming after so long.")
    ] = 50,
    project: ProjectDir = HERE,
    json: AsJson = False,
) -> None:
    """Send what is due and still true."""
    from tidings.jobs import dispatch as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened, working("sending"):
        counts = job.run(opened, budget=timedelta(seconds=seconds))
    if json:
        facts(counts)
        return
    _sent(counts)
    if counts.halted:
        raise typer.Exit(1)


def _sent(counts: DispatchCounts) -> None:
    """Print what became of what was due, and what stopped."""
    for name in _COUNTS:
        many: int = getattr(counts, name)
        if many:
            line(f"{name.replace('_', ' '):<10} {number(many):>8}")
    for name, reasons in (("skipped", counts.skipped), ("cancelled", counts.cancelled)):
        if reasons:
            told = ", ".join(f"{why} {number(many)}" for why, many in sorted(reasons.items(), key=lambda one: -one[1]))
            line(f"{name:<10} {number(sum(reasons.values())):>8}  {told}")
    for channel, reason in counts.halted.items():
        line(status("error"), f"  {channel} is stopped: {reason}")
    line("Nothing was due." if not counts.claimed else f"{number(counts.claimed)} were due.")


def measure(project: ProjectDir = HERE, json: AsJson = False) -> None:
    """Credit orders to messages and compare with the held out; running it again changes nothing."""
    from tidings.jobs import measure as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened, working("measuring"):
        counts = job.run(opened, opened.ledger.now())
    if json:
        facts(counts)
        return
    from dataclasses import asdict

    for name, value in asdict(counts).items():
        if isinstance(value, int):
            line(f"{name.replace('_', ' '):<12} {number(value):>8}")
    line("Done.")


def report(
    start: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="The first day (default: 28 days back).")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="DAY", help="The last day (default: today).")] = None,
    currency: Annotated[str | None, typer.Option("--currency", help="Another currency than the shop's.")] = None,
    project: ProjectDir = HERE,
    json: AsJson = False,
) -> None:
    """Show what each campaign sent, what it is credited with, and what it truly earned."""
    from tidings.jobs import report as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened, working("reading the ledger"):
        found = job.run(opened, first=day(start, "--from"), last=day(end, "--to"), currency=currency)
    if json:
        facts(found)
    else:
        _told(found)


def _told(found: Report) -> None:
    line(
        f"{moment(found.start, found.zone)} to {moment(found.end, found.zone)}  {found.currency}  {found.model}",
        dim=True,
    )
    everyone = (*found.campaigns, found.totals)
    line("")
    header = ("Campaign", "Found", "Planned", "Sent", "Held out", "Not sent", "Delivered", "Clicked", "Orders")
    table(header, [_funnel(one) for one in everyone])
    line("")
    table(
        ("Campaign", "Attributed", "Per head", "Treated", "Held out", "Incremental", "95% interval"),
        [_revenue(one, found.currency) for one in everyone],
    )
    line("Treated, held out: all they spent, per person who was or would have been written to.", dim=True)
    line("")
    for one in found.campaigns:
        reasons = {**one.skipped, **{f"cancelled({why})": many for why, many in one.cancelled.items()}}
        if reasons:
            ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
            line(f"{one.title}, not sent: ", ", ".join(f"{why} {number(many)}" for why, many in ranked), dim=True)
    for alert in found.alerts:
        line(alert)
    measured = (
        f"Measured {moment(found.as_of, found.zone)}." if found.as_of else "Not measured yet: run `tidings measure`."
    )
    line("")
    line(
        f"{money(found.totals.revenue, found.currency)} of {money(found.total_revenue, found.currency)} is credited to "
        f"messages. {measured}"
    )


def _funnel(one: Figures) -> tuple[str, ...]:
    counts = (one.found, one.planned, one.sent, one.held_out, one.not_sent, one.delivered, one.clicked, one.orders)
    return (one.title, *(number(count) for count in counts))


def _revenue(one: Figures, currency: str) -> tuple[str, ...]:
    found = one.incremental
    attributed = (one.title, money(one.revenue, currency), money(one.revenue_per_recipient, currency))
    if found is None or found.verdict.value == "not_measured":
        return (*attributed, DASH, DASH, "not measured", DASH)
    arms = (money(found.treated.per_person, currency), money(found.held_out.per_person, currency))
    words = {"inconclusive": "inconclusive", "not_enough": "not enough data"}
    told = (
        "check the split" if found.suspect else words.get(found.verdict.value, money(found.total, currency, sign=True))
    )
    interval = DASH
    if found.total_low is not None and found.total_high is not None:
        interval = f"{money(found.total_low, currency)} to {money(found.total_high, currency)}"
    return (*attributed, *arms, told, interval)
