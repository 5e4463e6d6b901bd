"""Commands about one campaign or one customer: who qualifies, what is planned, what holds it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tidings.cli.options import HERE, AsJson, AsOf, CampaignName, ProjectDir, instant
from tidings.cli.printing import facts, line, moment, number, status, table, working

if TYPE_CHECKING:
    from tidings.jobs.explain import EntryTold
    from tidings.jobs.plan import PlanCounts
    from tidings.jobs.standing import Standing

_CHANNELS = {"email": "e-mail", "sms": "SMS"}


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (detect, plan, approve, explain):
        app.command()(command)


def detect(
    campaign: CampaignName,
    as_of: AsOf = None,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="The start of the window.")] = None,
    project: ProjectDir = HERE,
    json: AsJson = False,
) -> None:
    """Count who qualifies; nothing is written."""
    from tidings.jobs import detect as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened, working("reading the warehouse"):
        found = job.run(opened, campaign, as_of=instant(as_of, "--as-of"), since=instant(since, "--since"))
    if json:
        facts(found)
        return
    line(f"{found.campaign}  ", f"{moment(found.start)} to {moment(found.end)}")
    line(f"found {number(found.count):>12}  ({number(found.customers)} customers)")
    if found.examples:
        rows = [(one.customer_id, moment(one.entered_at), one.about) for one in found.examples]
        table(("Customer", "Due since", "About"), rows, left=3)
    line("Nothing was written.")


def plan(
    campaign: CampaignName,
    as_of: AsOf = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan into a space of its own; nothing is sent.")] = False,
    project: ProjectDir = HERE,
    json: AsJson = False,
) -> None:
    """Give everybody who newly qualifies an answer: a message and its time, or why not."""
    from tidings.jobs import plan as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened, working("planning"):
        counts = job.run(opened, campaign, as_of=instant(as_of, "--as-of"), dry_run=dry_run)
    if json:
        facts(counts)
    else:
        _told(counts)
    if counts.stale is not None or counts.waiting is not None:
        raise typer.Exit(1)


def _told(counts: PlanCounts) -> None:
    if counts.stale is not None:
        line(status("stale"), f"  {counts.stale} is too old to run ahead of. Nothing was written.")
        return
    if counts.waiting is not None:
        line(
            status("waiting"),
            f"  {number(counts.waiting)} would enter at once. `tidings approve {counts.campaign}` lets them.",
        )
        return
    skipped = sum(counts.skipped.values())
    held = f"  ({number(counts.held_out)} held out)" if counts.held_out else ""
    line(f"found       {number(counts.found):>8}  ({number(counts.new)} new, {number(counts.known)} known)")
    line(f"planned     {number(counts.planned):>8}{held}")
    if skipped:
        reasons = sorted(counts.skipped.items(), key=lambda item: (-item[1], item[0]))
        line(f"not planned {number(skipped):>8}  {', '.join(f'{why} {number(many)}' for why, many in reasons)}")
    if counts.expired:
        line(f"expired     {number(counts.expired):>8}  found too late to be sent")
    line(_summed_up(counts, skipped))


def _summed_up(counts: PlanCounts, skipped: int) -> str:
    if not counts.new:
        return "Nothing new."
    steps = "1 step" if counts.steps == 1 else f"{counts.steps} steps"
    parts = [number(part) for part in (counts.planned, skipped, counts.expired) if part]
    told = f"{number(counts.new)} new × {steps} = {number(counts.new * counts.steps)}"
    told += f" = {' + '.join(parts)}" if len(parts) > 1 else ""
    where = "In the space of dry runs: nothing will be sent." if counts.space == "dry_run" else "Written to the ledger."
    return f"{told}. {where}"


def approve(campaign: CampaignName, project: ProjectDir = HERE) -> None:
    """Let a campaign's first audience in, after `plan` has counted it."""
    from tidings.jobs import plan as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened:
        counted = job.approve(opened, campaign)
    if counted is None:
        line(f"{campaign} is approved; it was not waiting.")
    else:
        line(f"{campaign} is approved: {number(counted)} may enter with the next run.")


def explain(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="A customer's id.")],
    project: ProjectDir = HERE,
    json: AsJson = False,
) -> None:
    """Tell what a customer got or not, and why, newest first."""
    from tidings.jobs import explain as job
    from tidings.jobs.opening import open_project

    with open_project(project) as opened, working("looking"):
        told = job.run(opened, customer)
    if json:
        facts(told)
        return
    for entry in told.entries:
        _entry(entry, told.zone)
    for other in told.others:
        _other(other)
    if not told.known:
        line(f"{customer} is not in the customer table.")
    if not told.entries:
        line(f"No campaign has found {customer}.")
    else:
        entries = "1 entry" if len(told.entries) == 1 else f"{len(told.entries)} entries"
        line(f"{entries}. Times are those of {told.zone} ({told.zone_source}).")


def _other(other: Standing) -> None:
    line(f"{other.title}{'' if other.mode == 'live' else f' ({other.mode})'}", bold=True)
    line("  ", status(other.condition.answer, 5), f"{other.condition.name:<15}", other.condition.fact)
    for one in other.channels:
        line(f"  {_CHANNELS.get(one.channel, one.channel)}, were the condition met now:", dim=True)
        for gate in one.gates:
            line("    ", status(gate.answer, 5), f"{gate.name:<15}", gate.fact)


def _entry(entry: EntryTold, zone: str) -> None:
    arm = entry.arm.replace("_", " ") + (f", {entry.variant}" if entry.variant else "")
    line(entry.title, bold=True)
    again = f"; again from {moment(entry.again_at, zone)}" if entry.again_at else ""
    dry = "; dry run" if entry.space == "dry_run" else ""
    line(f"  entered {moment(entry.entered_at, zone)}; {arm}{dry}{again}", dim=True)
    for message in entry.messages:
        why = f": {message.reason}" if message.reason else ""
        channel = _CHANNELS.get(message.channel, message.channel)
        # What was held out would have left at that moment.
        left = f" {moment(message.sending_at, zone)}" if message.sending_at else ""
        stands = f"{message.status.replace('_', ' ')}{left}{why}"
        line(f"  {message.step} ({channel})  due {moment(message.send_at, zone)}  {stands}")
        if message.sending_at:
            line(f"    message {message.id}", dim=True)
        if message.sentence and not message.gates:
            line(f"    {message.sentence}", dim=True)
        for gate in message.gates:
            line("    ", status(gate.answer, 5), f"{gate.name:<15}", gate.fact)
        for kind, at in message.did:
            line(f"    {kind} {moment(at, zone)}", dim=True)
