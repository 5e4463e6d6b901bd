"""Commands about the project's files: are they right, and what will a message look like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidings.cli.options import HERE, AsJson, CampaignName, ProjectDir, StepName
from tidings.cli.printing import counted, facts, line, status, working

if TYPE_CHECKING:
    from tidings.jobs.check import Checked


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(check)
    app.command()(preview)
    app.command("send-test")(send_test)


def check(
    project: ProjectDir = HERE,
    live: Annotated[bool, typer.Option("--live", help="Also connect to ledger, warehouse and providers.")] = False,
    json: AsJson = False,
) -> None:
    """List every mistake in the project's files, and what each campaign needs."""
    from tidings.jobs import check as job

    with working("checking"):
        checked = job.run(project, live=live)
    if json:
        facts(job.as_facts(checked))
    else:
        _told(checked)
    if checked.problems:
        raise typer.Exit(1)


def _told(checked: Checked) -> None:
    for one in checked.files:
        line("  ", status("error" if one.problems else "ok", 7), one.file)
        for problem in one.problems:
            line("         ", problem.what)
        if not one.problems and one.needs:
            line("         needs ", ", ".join(one.needs), dim=True)
        if not one.problems and one.better_with:
            line("         better with ", ", ".join(one.better_with), dim=True)
        for advice in one.advice:
            line("         advice: ", advice.what, dim=True)
    for place in checked.places:
        line("  ", status("error" if place.trouble else "ok", 7), place.name)
        if place.trouble:
            line("         ", place.trouble)
    for found in checked.findings:
        line("  ", status(found.level, 7), f" {found.name}: {found.fact}")
        if found.fix and found.level != "ok":
            line("          ", found.fix, dim=found.level == "skipped")
    for note in checked.notes:
        line("  ", note, dim=True)
    line(conclusion(checked))


def conclusion(checked: Checked) -> str:
    """Return the last line: how many mistakes, which campaigns they stop, how many are ready."""
    stopped = checked.stopped
    ready = f"{len(checked.ready)} {'is' if len(checked.ready) == 1 else 'are'} ready."
    if not checked.problems:
        return f"No errors. {ready}"
    names = f"{', '.join(stopped[:-1])} and {stopped[-1]}" if len(stopped) > 1 else "".join(stopped)
    told = f"{names} {'is' if len(stopped) == 1 else 'are'} stopped; {ready}" if stopped else ready
    return f"{counted(checked.problems, 'error')}. {told}"


def preview(
    campaign: CampaignName,
    step: StepName,
    customer: Annotated[str | None, typer.Option("--customer", metavar="ID", help="A customer who qualifies.")] = None,
    variant: Annotated[str, typer.Option("--variant", help="An arm of the content test.")] = "",
    out: Annotated[Path | None, typer.Option("--out", help="Write the e-mail's HTML to this file.")] = None,
    project: ProjectDir = HERE,
    json: AsJson = False,
) -> None:
    """Show one message as a customer would get it; nothing is sent or written."""
    from tidings.jobs import preview as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened, working("rendering"):
        shown = job.run(opened, campaign, step, customer_id=customer, variant=variant)
    if out is not None and shown.html is not None:
        out.write_text(shown.html, encoding="utf-8")
    if json:
        facts(shown)
        return
    line(f"{campaign} / {step} ({shown.channel})", bold=True)
    line(f"for {shown.about}", dim=True)
    if shown.subject is not None:
        line("subject    ", shown.subject)
        line("preheader  ", shown.preheader or "")
    line("")
    line(shown.text)
    line("")
    if shown.segments is not None:
        line(f"{counted(shown.segments, 'segment')}, {shown.encoding}. Nothing was sent.")
    else:
        size = f"{len((shown.html or '').encode()) / 1024:.0f} KB of HTML"
        where = f" in {out}" if out is not None else "; --out FILE writes it"
        line(f"{size}{where}. Nothing was sent.")


def send_test(
    campaign: CampaignName,
    step: StepName,
    to: Annotated[str, typer.Option("--to", metavar="ADDRESS", help="An allow-listed address or number.")],
    customer: Annotated[str | None, typer.Option("--customer", metavar="ID", help="A customer who qualifies.")] = None,
    variant: Annotated[str, typer.Option("--variant", help="An arm of the content test.")] = "",
    project: ProjectDir = HERE,
) -> None:
    """Send one message, marked as a test, to an allow-listed address; it is never counted."""
    from tidings.jobs import send_test as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened, working("sending"):
        sent = job.run(opened, campaign, step, to=to, customer_id=customer, variant=variant)
    line(f"Sent by {sent.provider} as {sent.provider_id}; marked as a test, not counted.")
