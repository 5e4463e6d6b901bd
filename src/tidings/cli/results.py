"""Commands that send and measure: what is due now, and what it earned."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from tidings.cli.options import HERE, AsJson, ProjectDir, day
from tidings.cli.printing import facts, line, number, status, working

if TYPE_CHECKING:
    from tidings.jobs.dispatch import DispatchCounts

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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="What was planned with --dry-run, into the outbox; nothing leaves.")
    ] = False,
    project: ProjectDir = HERE,
    json: AsJson = False,
) -> None:
    """Send what is due and still true."""
    from tidings.jobs import dispatch as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened, working("sending"):
        counts = job.run(opened, budget=timedelta(seconds=seconds), dry_run=dry_run)
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
    if counts.space == "dry_run":
        line("In the space of dry runs: nothing left.")


def measure(
    full: Annotated[bool, typer.Option("--full", help="Everything, not only what may have changed.")] = False,
    project: ProjectDir = HERE,
    json: AsJson = False,
) -> None:
    """Credit orders to messages and compare with the held out; running it again changes nothing."""
    from tidings.cli.report_text import print_measured
    from tidings.jobs import measure as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened, working("measuring"):
        counts = job.run(opened, full=full)
        zone = opened.settings.brand.zone
    if json:
        facts(counts)
    else:
        print_measured(counts, zone)


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
    from tidings.cli.report_text import print_report
    from tidings.jobs import report as job
    from tidings.jobs.opening import open_project
    from tidings.measure.report import as_json

    with open_project(project) as opened, working("reading the ledger"):
        found = job.run(opened, first=day(start, "--from"), last=day(end, "--to"), currency=currency)
    if json:
        facts(as_json(found))
    else:
        print_report(found)
