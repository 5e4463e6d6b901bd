"""Commands about people: obey their "no", read their texts, forget them, hand them what is known, keep nothing long."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tidings.cli.options import HERE, AsJson, ProjectDir
from tidings.cli.printing import counted, facts, line, moment, number, status, working

CustomerId = Annotated[str, typer.Argument(metavar="CUSTOMER", help="Any id of the customer.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("opt-out")(opt_out)
    app.command()(texts)
    app.command()(forget)
    app.command("export-person")(export_person)
    app.command()(retain)


def opt_out(
    customer: Annotated[str | None, typer.Argument(metavar="CUSTOMER", help="Any id of the customer.")] = None,
    email: Annotated[list[str] | None, typer.Option("--email", help="An address of theirs.")] = None,
    phone: Annotated[list[str] | None, typer.Option("--phone", help="A number of theirs.")] = None,
    channel: Annotated[str, typer.Option("--channel", help="email, sms or all.")] = "all",
    project: ProjectDir = HERE,
    json: AsJson = False,
) -> None:
    """Obey a "no" that came by letter, telephone or reply: never write to them again on a channel, or on any."""
    from tidings.errors import DefinitionError
    from tidings.jobs import opt_out as job
    from tidings.jobs.opening import open_project
    from tidings.model.people import Channel

    if channel not in ("all", *Channel):
        raise DefinitionError(f'--channel: must be email, sms or all; found "{channel}"')
    wanted = tuple(Channel) if channel == "all" else (Channel(channel),)
    with open_project(project) as opened:
        done = job.run(opened, customer, emails=email or (), phones=phone or (), channels=wanted)
    if json:
        facts(done)
        return
    about = f"{counted(done.ids, 'id')} and {counted(done.addresses, 'address', 'addresses')}"
    line(f"{' and '.join(done.channels)} closed for {about}; what was waiting is cancelled.")
    if not done.news:
        line("All of it was closed already.", dim=True)


def texts(
    stop: Annotated[str | None, typer.Option("--stop", metavar="ID", help="Obey this text as a stop.")] = None,
    read: Annotated[str | None, typer.Option("--read", metavar="ID", help="Put this text away.")] = None,
    project: ProjectDir = HERE,
    json: AsJson = False,
) -> None:
    """List incoming texts that no rule understood, and settle them one by one."""
    from tidings.errors import DefinitionError
    from tidings.jobs import texts as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened:
        for name, is_stop in ((stop, True), (read, False)):
            if name is not None and not job.settle(opened, name, opt_out=is_stop):
                raise DefinitionError(f'text: must be one that waits for a person; found "{name}"')
        found, zone = job.unclear(opened), opened.settings.brand.zone
    if json:
        facts(found)
        return
    for one in found:
        line(f"{one.id}  {moment(one.at, zone)}")
        line(f"    {one.words}")
    if found:
        line(f"{counted(len(found), 'text')} to read: `tidings texts --stop ID` or `tidings texts --read ID`.")
    else:
        line("No text waits for a person.")


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
