"""What a reconciliation came to, in words: what was lost, what the providers knew of it, and what stays open."""

from __future__ import annotations

from tidings.cli.printing import counted, facts, line, moment, number, status
from tidings.jobs.reconcile import Reconciled


def tell(told: Reconciled, *, as_json: bool = False) -> None:
    """Print it, as JSON or as a few lines."""
    if as_json:
        facts(told)
        return
    verb = "would be" if told.dry_run else "were"
    if told.restored:
        until = moment(told.until) if told.until else "now"
        line(f"The ledger was restored: it has forgotten {counted(told.forgotten, 'sending')} until {until}.")
        line(
            f"{number(told.doubtful)} messages that were due by then may have left, so they {verb} presumed lost and "
            "are not sent again."
        )
    line(f"Asked the providers about everything since {moment(told.since)}.")
    lists = ", ".join(f"{kind} {number(count)}" for kind, count in sorted(told.listed.items())) or "nothing"
    line(f"SendGrid's lists: {lists}; {counted(told.suppressed, 'address', 'addresses')} {verb} news and closed.")
    line(f"Twilio's list: {counted(told.texts, 'text')}; {counted(told.stopped, 'STOP')} {verb} news and obeyed.")
    line(f"{counted(told.proven, 'message')} {verb} proven sent; {number(told.unsettled)} stay in doubt.")
    for missing in told.missing:
        line(status("warning"), f"  {missing}")
    if told.opened:
        line(status("ok"), "  Dispatch is open again.")
