"""What the tasks do: each opens the project, lets one job work, and hands on counts only."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from tidings.airflow.connections import AirflowConnections
from tidings.airflow.variables import lane_witness
from tidings.errors import DefinitionError, TidingsError
from tidings.jobs import brakes, dispatch, plan
from tidings.jobs.opening import Opened, open_project
from tidings.jobs.witness import Witness
from tidings.model.masking import mask_logs, masked
from tidings.warehouse import freshness

log = logging.getLogger(__name__)

# The next run starts after a minute; a lane that has not claimed its last batch by then would overlap it.
LONGEST = timedelta(seconds=50)


@contextmanager
def opened(folder: Path, *witnesses: Callable[[str], Witness]) -> Iterator[Opened]:
    """Open the project with Airflow's connections. A person's mistake fails the task at once, in one line."""
    mask_logs()
    try:
        with open_project(folder, AirflowConnections(), *witnesses) as project:
            yield project
    except DefinitionError as mistake:
        raise AirflowFailException(str(mistake)) from None
    except TidingsError as trouble:
        # A database may be back at the next try, so Airflow's own retries apply.
        raise type(trouble)(masked(str(trouble))) from None
    except Exception as bug:
        # Airflow writes tracebacks past Python's logging; one that quotes a person's address must not reach it.
        if "".join(traceback.format_exception(bug)) == masked("".join(traceback.format_exception(bug))):
            raise
        raise RuntimeError(f"{type(bug).__name__}: {masked(str(bug))}") from None


def sources_fresh(folder: Path, campaign_id: str, params: Mapping[str, Any]) -> dict[str, int]:
    """Skip the run when a table that the campaign stands on, its exclusions included, is too old."""
    with opened(folder) as project:
        campaign = project.project.campaign(campaign_id)
        names = plan.sources(project, campaign)
        now = project.ledger.now()
        until = as_of(params) or now
        old = freshness.stale(project.shop, project.project.mapping, names, until)
        if old:
            # Planning records the run that did not happen, so that reports can say so.
            plan.run(project, campaign_id, now=now, as_of=as_of(params), dry_run=_dry_run(params))
            told = ", ".join(f"{name} (loaded until {at:%Y-%m-%d %H:%M} UTC)" for name, at in sorted(old.items()))
            raise AirflowSkipException(f"stale_source: {told}; nothing is planned ahead of its sources")
    return {"sources": len(names), "stale": 0}


def find_and_plan(folder: Path, campaign_id: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Find who qualifies and write what each gets and when, or why not, in one pass over the warehouse."""
    with opened(folder) as project:
        counts = plan.run(project, campaign_id, now=project.ledger.now(), as_of=as_of(params), dry_run=_dry_run(params))
        guard = project.project.campaign(campaign_id).max_initial_audience
    if counts.stale is not None:
        raise AirflowSkipException(f"stale_source: {counts.stale}; nothing is planned ahead of its sources")
    if counts.waiting is not None:
        raise AirflowSkipException(
            f"waits for approval: {counts.waiting:,} people qualify, more than max_initial_audience {guard:,}; "
            f"nothing was planned. Look at them with `tidings detect {campaign_id}`, "
            f"then run `tidings approve {campaign_id}`"
        )
    told = asdict(counts)
    told |= {"as_of": counts.as_of.isoformat(), "start": counts.start.isoformat(), "skipped": dict(counts.skipped)}
    return {name: value for name, value in told.items() if value is not None}


def answers_add_up(counts: Mapping[str, Any]) -> dict[str, int]:
    """Show every answer of the run, and fail when somebody who was found has none."""
    skipped = sum(counts["skipped"].values())
    reasons = ", ".join(f"{reason} {many:,}" for reason, many in sorted(counts["skipped"].items()))
    log.info("found        %s (%s new, %s known)", counts["found"], counts["new"], counts["known"])
    log.info("planned      %s (%s of them held out)", counts["planned"], counts["held_out"])
    log.info("not planned  %s %s", skipped, reasons)
    log.info("expired      %s", counts["expired"])
    if counts["found"] != counts["new"] + counts["known"]:
        raise AirflowFailException("found must be new + known: somebody has no answer; please report this")
    if counts["new"] * counts["steps"] != counts["planned"] + skipped + counts["expired"]:
        raise AirflowFailException("new x steps must be planned + skipped + expired; please report this")
    return {"found": counts["found"], "planned": counts["planned"], "not_planned": skipped + counts["expired"]}


def anything_due(folder: Path) -> bool:
    """Return whether a lane would find work; asks the ledger only."""
    with opened(folder) as project:
        return dispatch.due(project)


def send_what_is_due(folder: Path, lane: int = 1) -> dict[str, Any]:
    """Work as one lane until nothing is due or the time is up; a stopped provider fails the task, visibly."""
    with opened(folder, lane_witness(lane)) as project:
        counts = dispatch.run(project, budget=min(project.settings.dispatch.budget, LONGEST))
    if counts.halted:
        told = "; ".join(f"{channel}: {reason}" for channel, reason in sorted(counts.halted.items()))
        raise AirflowFailException(f"a provider is stopped until somebody has looked ({told}); see docs/production.md")
    told_counts = asdict(counts)
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in told_counts.items()}


def tell_of_brakes(folder: Path) -> dict[str, int]:
    """Fail once for every brake that was pulled, with what to do; a rate that comes near one is a warning in the log.

    Whatever Airflow is told to do about a failed task is done: a mail, a call, a message to a channel. It does not
    wait for the sending, and stops nothing.
    """
    with opened(folder) as project:
        found = brakes.alarms(project)
        on = len(brakes.on(project))
    urgent = [brakes.sentence(one) for one in found if one.action == "pulled"]
    if urgent:
        raise AirflowFailException("\n".join(urgent))
    return {"on": on, "told": len(found)}


def ask_and_tell(folder: Path) -> dict[str, int]:
    """Ask telephones whose owners chose texts, tell other tools of opt-outs, take events that were ahead of us."""
    from tidings.jobs import opt_in, tell_opt_outs, way_back

    with opened(folder) as project:
        asked = opt_in.run(project)
        told = tell_opt_outs.run(project)
        taken = way_back.adopt(project)
    if told.why is not None:
        raise AirflowFailException(
            f"opt_out_webhook: {told.why}; {told.waiting} decisions wait and are told by the next run; "
            "see docs/preferences.md"
        )
    return {"asked": asked.sent, "asked_later": asked.not_now, "told": told.told, "adopted": taken}


def measure_results(folder: Path) -> dict[str, Any]:
    """Credit orders to messages and compare with the held out; running it again changes nothing."""
    from tidings.jobs import measure

    with opened(folder) as project:
        counts = measure.run(project, now=project.ledger.now())
    return {name: value for name, value in asdict(counts).items() if isinstance(value, int)}


def reconcile_with_providers(folder: Path, *, reopen: bool = False) -> dict[str, int]:
    """Fetch the opt-outs and proofs that webhooks lost; a restored ledger is opened only when a person says so."""
    from tidings.jobs import reconcile

    with opened(folder, lane_witness(1)) as project:
        if not reopen:
            project.witnesses.check(project.ledger)
        told = reconcile.run(project)
    if told.missing:
        log.warning("not everything could be asked: %s", "; ".join(told.missing))
    return {name: value for name, value in asdict(told).items() if isinstance(value, int)}


def take_out(folder: Path) -> dict[str, int]:
    """Take out of the ledger what was kept long enough; what is left over goes the next night."""
    from tidings.jobs import retain

    with opened(folder) as project:
        done = retain.run(project, now=project.ledger.now())
    return {**done.taken_out, "forgotten": done.forgotten, "finished": int(done.finished)}


def as_of(params: Mapping[str, Any]) -> datetime | None:
    """Return the moment a person asked for, aware; without an offset it is UTC."""
    said = params.get("as_of")
    if not said:
        return None
    at = datetime.fromisoformat(str(said))
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _dry_run(params: Mapping[str, Any]) -> bool:
    return bool(params.get("dry_run"))


def refuse(mistakes: str) -> None:
    """Fail at once with the mistakes of a campaign's file."""
    raise AirflowFailException(mistakes)
