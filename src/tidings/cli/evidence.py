"""Commands about what can be proved: whether receipts still hold, and the chain that holds them together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tidings.cli.options import HERE, AsJson, ProjectDir
from tidings.cli.options import day as day_of
from tidings.cli.printing import counted, facts, line, moment, number, status, working

if TYPE_CHECKING:
    from tidings.jobs.verify import AllVerified, Verified


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (verify, seal):
        app.command()(command)


def verify(
    message: Annotated[str | None, typer.Argument(metavar="MESSAGE", help="A message's id.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every receipt, and the chain.")] = False,
    day: Annotated[
        str | None, typer.Option("--day", metavar="DAY", help="With --all: what was sealed for a day.")
    ] = None,
    words: Annotated[bool, typer.Option("--words", help="With --all: also write every message anew.")] = False,
    project: ProjectDir = HERE,
    json: AsJson = False,
) -> None:
    """Check that receipts say what happened; exit 1 when something was altered, and name it."""
    from tidings.errors import DefinitionError
    from tidings.jobs import verify as job
    from tidings.jobs.opening import open_project

    if every == (message is not None):
        raise DefinitionError("verify: needs a message's id, or --all; found " + ("both" if every else "neither"))
    with open_project(project) as opened, working("looking"):
        if message is not None:
            one = job.run(opened, message)
        else:
            many = job.run_all(opened, day=day_of(day, "--day"), words=words)
    if json:
        facts(one if message is not None else many)
    elif message is not None:
        _one(one)
    else:
        _many(many, words)
    if one.altered if message is not None else many.faults:
        raise typer.Exit(1)


def _one(one: Verified) -> None:
    when = f"  {moment(one.sending_at)}" if one.sending_at else ""
    line(f"{one.message_id}  {one.campaign} {one.step} ({one.channel}){when}  {one.status}", bold=True)
    for check in one.checks:
        line("  ", status(check.answer, 5), f"{check.name:<10}", check.fact)
    if one.altered:
        line(status("no"), f": does not hold: {', '.join(one.altered)}.")
    else:
        line("Everything that can be checked holds.")


def _many(many: AllVerified, words: bool) -> None:
    line(f"receipts {number(many.receipts):>9}  ({number(many.sealed)} sealed, {number(many.waiting)} not yet)")
    line(f"versions {number(many.versions):>9}  of campaigns, templates, brand and products")
    if words:
        line(f"written anew {number(many.rewritten):>5}  with the same bytes")
    if many.erased:
        line(f"forgotten {number(many.erased):>8}  of whom only that a message left is kept")
    for one in many.broken:
        line(status("no", 4), f"{one.kind} {one.name}: {one.fact}")
    if many.faults > len(many.broken):
        line(f"... and {number(many.faults - len(many.broken))} more")
    _heads(many)
    line("Every receipt holds." if not many.faults else f"{counted(many.faults, 'thing')} altered.")


def _heads(many: AllVerified) -> None:
    for one in many.heads[-1:]:
        line(f"head of {one.day.date()}  {one.chain}", dim=True)


def seal(project: ProjectDir = HERE, json: AsJson = False) -> None:
    """Join the receipts of finished days to the chain, and print its heads: keep them elsewhere."""
    from tidings.jobs import seal as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened, working("sealing"):
        counts = job.run(opened)
    if json:
        facts(counts)
        return
    for one in counts.heads:
        line(f"{one.day.date()}  {number(one.position + 1):>9}  {one.chain}")
    line(f"{counted(counts.sealed, 'receipt')} sealed, up to {moment(counts.until)}.")
