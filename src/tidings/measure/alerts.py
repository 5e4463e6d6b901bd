"""What a person has to know before they read figures: what is stopped, waiting, out of date or failing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from tidings.ledger import brakes, counts, progress

# Brakes that were pulled by no person say what to do.
BY_ITSELF = ("dispatch", "rates")
LOOK_BACK = timedelta(days=7)
# A rate is looked at many times a day and told of once: what was not told again since is over.
WARNINGS_LAST = timedelta(days=2)
# A run that began so long ago and never ended has crashed or hangs.
LONGEST_RUN = timedelta(hours=2)
# Results older than this are not today's.
RESULTS_LAST = timedelta(days=2)


def alerts(
    conn: Connection, *, now: datetime, zone: str, titles: Mapping[str, str], as_of: datetime | None
) -> Iterator[str]:
    """Yield what needs somebody, the most urgent first: one sentence each with what to do."""
    remedies = brakes.remedies(conn)
    for scope, brake in brakes.pulled(conn).items():
        stopped = _scope(scope, titles)
        what = scope.removeprefix("campaign:")
        remedy = remedies.get(scope, "") if brake.by in BY_ITSELF else ""
        todo = remedy or f"Go on with `tidings resume {what}`."
        yield f"{stopped} since {_moment(brake.at, zone)}: {brake.reason}. {todo}"
    for warned in brakes.warnings(conn, since=now - WARNINGS_LAST):
        yield f"{_of(warned.scope, titles)} is close to being stopped: {warned.reason}. {warned.remedy}".strip()
    for campaign, waiting in progress.waiting(conn):
        yield (
            f"{titles.get(campaign, campaign)} waits for approval: it would write to {waiting:,} people at once. "
            f"Let it run with `tidings approve {campaign}`."
        )
    for run in counts.latest_runs(conn, since=now - LOOK_BACK):
        name = titles.get(run.campaign, run.campaign) or run.job.capitalize()
        if run.error is not None:
            yield f"{name}: the last {run.job} run failed on {_moment(run.started_at, zone)} ({run.error})."
        elif run.ended_at is None and run.started_at < now - LONGEST_RUN:
            yield f"{name}: the {run.job} run of {_moment(run.started_at, zone)} never ended."
        elif run.counters.get("stale"):
            yield f"{name} was not planned on {_moment(run.started_at, zone)}: {run.counters['stale']} is out of date."
    if as_of is None:
        yield "Nothing has been measured yet. Run `tidings measure`."
    elif as_of < now - RESULTS_LAST:
        yield f"Results are as of {_moment(as_of, zone)}. Run `tidings measure`."


def _scope(scope: str, titles: Mapping[str, str]) -> str:
    kind, _, name = scope.partition(":")
    if kind == "campaign":
        return f"{titles.get(name, name)} is stopped"
    match kind:
        case "all":
            return "All sending is stopped"
        case "marketing":
            return f"All marketing by {name} is stopped"
        case "mailbox":
            return f"Marketing to mailboxes at {name} is stopped"
        case _:
            return f"Sending by {name} is stopped"


def _of(scope: str, titles: Mapping[str, str]) -> str:
    stopped = _scope(scope, titles)
    return stopped.removesuffix(" is stopped")


def _moment(at: datetime, zone: str) -> str:
    local = at.astimezone(ZoneInfo(zone))
    return f"{local.day} {local:%b %H:%M %Z}"
