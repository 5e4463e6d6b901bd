"""Commands that stop sending and let it go on, and say what is stopped and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidings.cli.options import HERE, AsJson, ProjectDir
from tidings.cli.printing import counted, facts, line, moment, status


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (pause, resume, brakes, postmaster):
        app.command()(command)


Scope = Annotated[
    str,
    typer.Argument(
        metavar="WHAT", help="A campaign, `all`, `channel:sms`, `provider:twilio`, `marketing:email`, `mailbox:gmail`."
    ),
]


def pause(
    what: Scope,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the others.")] = "paused by a person",
    project: ProjectDir = HERE,
) -> None:
    """Stop sending at once: a campaign, a channel, a provider, or all."""
    from tidings.jobs import brakes as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened:
        scope = job.pull(opened, what, reason)
    line(status("paused"), f"  {scope}. `tidings resume {what}` lets go.")


def resume(what: Scope, project: ProjectDir = HERE) -> None:
    """Let sending go on after a pause or a stop."""
    from tidings.jobs import brakes as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened:
        scope, was_on = job.release(opened, what)
    line(f"{scope} goes on." if was_on else f"{scope} was not stopped.")


def brakes(project: ProjectDir = HERE, json: AsJson = False) -> None:
    """List what is stopped, and what is close to it: since when, by whom, why, and what to do."""
    from tidings.jobs import brakes as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened:
        found, near = job.on(opened), job.warned(opened)
        zone = opened.settings.brand.zone
    if json:
        facts({"on": found, "warned": near})
        return
    for one in found:
        line(status("paused"), f"  {one.scope}  since {moment(one.at, zone)}, by {one.by}")
        line(f"        {one.reason}")
        line("        ", one.remedy or f"`tidings resume {one.what}` lets go.", dim=True)
    for warning in near:
        line(status("warning"), f"  {warning.scope}  {moment(warning.at, zone)}")
        line(f"        {warning.reason}")
        line("        ", warning.remedy, dim=True)
    line("Nothing is stopped." if not found else f"{counted(len(found), 'brake')} on.")


def postmaster(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or JSON: day, domain, complaint_rate.")],
    project: ProjectDir = HERE,
) -> None:
    """Take in the complaint rates that Gmail's Postmaster Tools show; a second time changes nothing."""
    from tidings.jobs import postmaster as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened:
        taken = job.run(opened, file)
    line(f"Took {counted(taken.rates, 'rate')} of {counted(taken.domains, 'domain')}.")
    for scope in taken.stopped:
        line(status("paused"), f"  {scope} is stopped; see `tidings brakes`.")
