"""Commands about one person's data: forget them, hand them what is known; and keep nothing longer than needed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tidings.cli.options import HERE, AsJson, ProjectDir
from tidings.cli.printing import counted, facts, line, number, status, working

CustomerId = Annotated[str, typer.Argument(metavar="CUSTOMER", help="Any id of the customer.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(forget)
    app.command("export-person")(export_person)
    app.command()(retain)


def forget(
    customer: CustomerId,
    email: Annotated[list[str] | None, typer.Option("--email", help="One more address of theirs.")] = None,
    phone: Annotated[list[str] | None, typer.Option("--phone", help="One more number of theirs.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Kept with the hash; no names.")] = "requested",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    project: ProjectDir = HERE,
    json: AsJson = False,
) -> None:
    """Forget a person: nobody writes to them again, and the ledger no longer says who they were."""
    from tidings.jobs import forget as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened:
        if not yes:
            found = job.find(opened, customer, emails=email or (), phones=phone or ())
            about = f"{counted(len(found.ids), 'id')} and {counted(len(found.addresses), 'address', 'addresses')}"
            typer.confirm(f"Forget this customer with {about}? This cannot be taken back", abort=True, err=True)
        with working("forgetting"):
            done = job.run(opened, customer, emails=email or (), phones=phone or (), reason=reason)
    if json:
        facts(done)
    else:
        line(f"ids        {number(done.ids):>8}")
        line(f"addresses  {number(done.addresses):>8}  never written to again")
        line(f"messages   {number(done.messages):>8}  in {counted(done.entries, 'entry', 'entries')}, made anonymous")
        line(f"cancelled  {number(done.cancelled):>8}")
        line(f"file lines {number(done.file_lines):>8}  blanked")
        for left in done.by_hand:
            line(status("waiting"), f"  {left}")
        line("The warehouse is the shop's own: erase the customer there as well.")
    if done.by_hand:
        raise typer.Exit(1)


def export_person(
    customer: CustomerId,
    to: Annotated[str, typer.Option("--to", metavar="FILE", help="Where to: a JSON file, or - for the terminal.")],
    csv: Annotated[Path | None, typer.Option("--csv", metavar="DIR", help="One CSV file a part as well.")] = None,
    project: ProjectDir = HERE,
) -> None:
    """Write out everything known about a person, for them: what we wrote, and what was read from the shop."""
    from tidings.jobs import export_person as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened, working("reading"):
        told = job.run(opened, customer)
    if csv is not None:
        job.write_csv(told, csv)
    if to == "-":
        sys.stdout.write(job.as_json(told).decode())
        return
    job.write_private(told, Path(to))
    rows = sum(len(part) for name in ("written_by_us", "read_from_the_shop") for part in told[name].values())
    line(f"{counted(rows, 'row')} written. The file names a person: hand it to them, then delete it.")


def retain(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only; take out nothing.")] = False,
    project: ProjectDir = HERE,
    json: AsJson = False,
) -> None:
    """Take out what the ledger has kept for as long as the settings allow."""
    from tidings.jobs import retain as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened, working("looking for what is old"):
        done = job.run(opened, dry_run=dry_run)
    if json:
        facts(done)
        return
    for name, many in done.taken_out.items():
        line(f"{name:<18}{number(many):>10}")
    if done.forgotten:
        line(f"{counted(done.forgotten, 'id')} of forgotten people had been written late, and went too.")
    line("Nothing was taken out." if dry_run or not any(done.taken_out.values()) else "Taken out.")
    if not done.finished:
        line("The time was up; the next run goes on.")
