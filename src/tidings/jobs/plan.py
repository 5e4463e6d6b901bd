"""Planning: who qualifies since the watermark, what each gets and when, or why not, written to the ledger once."""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import Connection

from tidings.definitions import Campaign
from tidings.jobs.campaigns import campaign_plan, new_id
from tidings.jobs.opening import Opened
from tidings.ledger import erasing, planning
from tidings.ledger.planning import CampaignState, EntryRow, MessageRow
from tidings.model.entry import Entry, Window
from tidings.model.message import Space
from tidings.model.people import Customer
from tidings.plan import erased
from tidings.plan.planner import PlannedEntry
from tidings.plan.planner import plan as planned_entry
from tidings.plan.unfit import fitting
from tidings.warehouse import freshness, people

log = logging.getLogger(__name__)

BATCH = 2_000
# Rows may arrive a little late even where the shop promises nothing; scanning them again is harmless.
LOOK_BACK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class PlanCounts:
    """One planning run. ``found = new + known``; ``new × steps = planned + skipped + expired``.

    ``planned`` includes the held-out arm's messages, ``held_out`` of them. ``waiting`` is the audience of a
    first run that waits for approval (nothing was written); ``stale`` names a source too old to run ahead of.
    """

    campaign: str
    space: str
    as_of: datetime
    start: datetime
    steps: int = 0
    found: int = 0
    new: int = 0
    known: int = 0
    planned: int = 0
    held_out: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    expired: int = 0
    waiting: int | None = None
    stale: str | None = None


def run(
    opened: Opened,
    campaign_id: str,
    *,
    now: datetime | None = None,
    as_of: datetime | None = None,
    dry_run: bool = False,
) -> PlanCounts:
    """Plan one campaign up to ``as_of`` (default: now, held back to what its sources have loaded)."""
    campaign = opened.project.campaign(campaign_id)
    now = now or opened.ledger.now()
    space = Space.DRY_RUN if dry_run or campaign.mode == "dry_run" else Space.LIVE
    until, stale = _fresh_until(opened, campaign, as_of or now)
    with opened.ledger.reading() as conn:
        state = planning.campaign_state(conn, space, campaign.id)
    window = Window(_scan_start(opened, campaign, state, until), until)
    empty = PlanCounts(campaign.id, space, until, window.start, len(campaign.steps))
    if stale is not None:
        log.warning("not planned campaign=%s: source %s is too old", campaign.id, stale)
        return _told(opened, empty, now, stale=stale)
    waiting = _audience_to_approve(opened, campaign, state, window, space)
    if waiting is not None:
        return _told(opened, empty, now, waiting=waiting, state=state)
    return _write(opened, campaign, window, space, now)


def detect_entries(opened: Opened, campaign: Campaign, window: Window) -> Iterator[Entry]:
    """Yield who qualifies in the window, straight from the warehouse; a small question first, where one can tell."""
    probe = campaign.detect.probe(opened.shop.tables, window)
    if probe is not None and not any(True for _ in opened.shop.stream(probe)):
        return iter(())
    return campaign.detect.entries(opened.shop, window)


def approve(opened: Opened, campaign_id: str) -> int | None:
    """Let a campaign whose first audience was above its guard run; return the audience that was counted."""
    campaign = opened.project.campaign(campaign_id)
    with opened.ledger.writing() as conn:
        state = planning.campaign_state(conn, Space.LIVE, campaign.id)
        counted = state.waiting_count if state else None
        planning.save_state(
            conn,
            CampaignState(
                campaign.id,
                Space.LIVE,
                state.watermark if state else None,
                state.detect_hash if state else None,
                campaign.detect_hash(),
                None,
            ),
        )
    return counted


def _fresh_until(opened: Opened, campaign: Campaign, wanted: datetime) -> tuple[datetime, str | None]:
    """Return how far the campaign's sources have loaded, and the first one that is too old, if any."""
    names = sources(opened, campaign)
    marks = freshness.watermarks(opened.shop, opened.project.mapping, names, as_of=wanted)
    old = freshness.too_old(opened.project.mapping, marks, wanted)
    if old:
        return wanted, min(old)
    return min((at for at in marks.values() if at is not None), default=wanted), None


def sources(opened: Opened, campaign: Campaign) -> list[str]:
    """Return the logical tables a campaign stands on, its exclusions' included."""
    return [*campaign.detect.requires, *(name for name in campaign.detect.uses if opened.shop.tables.has(name))]


def _scan_start(opened: Opened, campaign: Campaign, state: CampaignState | None, until: datetime) -> datetime:
    """Return where the scan begins: the watermark less the lateness, or what could still be sent on a first run."""
    if state is None or state.watermark is None:
        return until - campaign.steps[0].lasts - campaign.steps[0].after
    mapped = opened.project.mapping.mapped()
    lateness = [mapped[name].lateness for name in sources(opened, campaign) if name in mapped]
    return min(state.watermark, until) - max([LOOK_BACK, *lateness])


def _audience_to_approve(
    opened: Opened, campaign: Campaign, state: CampaignState | None, window: Window, space: Space
) -> int | None:
    """Return the size of a first audience that is above the campaign's guard and not approved, else None."""
    if space is Space.DRY_RUN or (state is not None and state.approved_hash == campaign.detect_hash()):
        return None
    guard = campaign.max_initial_audience
    audience = sum(1 for _ in islice(detect_entries(opened, campaign, window), guard + 1))
    if audience <= guard:
        return None
    return sum(1 for _ in detect_entries(opened, campaign, window))


def _write(opened: Opened, campaign: Campaign, window: Window, space: Space, now: datetime) -> PlanCounts:
    plan = campaign_plan(campaign, opened.settings, opened.secrets.pepper, space)
    run_id, began = uuid.uuid4().hex, time.monotonic()
    counts: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    with opened.ledger.writing() as conn:
        planning.start_run(conn, run_id, "plan", campaign.id, space, as_of=window.end, start=window.start, now=now)
        if space is Space.LIVE and planning.campaign_state(conn, Space.DRY_RUN, campaign.id) is not None:
            planning.drop_dry_run(conn, campaign.id)
    stream = detect_entries(opened, campaign, window)
    while batch := list(islice(stream, BATCH)):
        known_people = people.customers(opened.shop, {entry.customer_id for entry in batch})
        rows = [planned_entry(entry, known_people.get(entry.customer_id), plan, now, new_id=new_id) for entry in batch]
        with opened.ledger.writing() as conn:
            rows = _without_forgotten(opened, conn, rows, known_people)
            done = planning.record(
                conn, [_row(fitting(one)) for one in rows], space=space, campaign=campaign.id, run_id=run_id, now=now
            )
        counts.update(found=done.new + done.known, new=done.new, known=done.known, planned=done.planned)
        counts.update(held_out=done.held_out, expired=done.expired)
        skipped.update(done.skipped)
    told = PlanCounts(
        campaign.id,
        space,
        window.end,
        window.start,
        len(campaign.steps),
        found=counts["found"],
        new=counts["new"],
        known=counts["known"],
        planned=counts["planned"],
        held_out=counts["held_out"],
        skipped=dict(skipped),
        expired=counts["expired"],
    )
    with opened.ledger.writing() as conn:
        ended_at = now + timedelta(seconds=time.monotonic() - began)  # in the run's own time, simulated or not
        planning.end_run(conn, run_id, _counters(told), now=ended_at)
        digest = campaign.detect_hash()
        planning.save_state(conn, CampaignState(campaign.id, space, window.end, digest, digest, None))
    log.info(
        "planned campaign=%s found=%d new=%d known=%d planned=%d held_out=%d skipped=%d expired=%d",
        campaign.id, told.found, told.new, told.known, told.planned, told.held_out,
        sum(skipped.values()), told.expired,
    )  # fmt: skip
    return told


def _without_forgotten(
    opened: Opened, conn: Connection, rows: list[PlannedEntry], known: Mapping[str, Customer]
) -> list[PlannedEntry]:
    """Answer for those who were forgotten without writing down who they are; nobody is forgotten meanwhile."""
    erasing.hold(conn)
    if not erasing.anybody(conn):
        return rows
    pepper, country = opened.secrets.pepper, opened.settings.brand.country
    names = {
        one.customer_id: erased.subjects(one.customer_id, known.get(one.customer_id), country, pepper) for one in rows
    }
    gone = erasing.erased(conn, {name for theirs in names.values() for name in theirs})
    if not gone:
        return rows
    return [one if gone.isdisjoint(names[one.customer_id]) else erased.anonymous(one, pepper) for one in rows]


def _row(planned: PlannedEntry) -> EntryRow:
    return EntryRow(
        planned.id,
        planned.entry,
        planned.customer_id,
        planned.arm,
        planned.variant,
        planned.cooldown_until,
        tuple(
            MessageRow(*(getattr(one, name) for name in MessageRow.__dataclass_fields__)) for one in planned.messages
        ),
    )


def _told(
    opened: Opened,
    counts: PlanCounts,
    now: datetime,
    *,
    stale: str | None = None,
    waiting: int | None = None,
    state: CampaignState | None = None,
) -> PlanCounts:
    """Record a run that wrote nothing, with why; the watermark stays where it was."""
    told = PlanCounts(
        counts.campaign, counts.space, counts.as_of, counts.start, counts.steps, stale=stale, waiting=waiting
    )
    run_id = uuid.uuid4().hex
    with opened.ledger.writing() as conn:
        planning.start_run(
            conn, run_id, "plan", told.campaign, Space(told.space), as_of=told.as_of, start=told.start, now=now
        )
        planning.end_run(conn, run_id, _counters(told), now=now)
        if waiting is not None:
            planning.save_state(
                conn,
                CampaignState(
                    told.campaign,
                    Space(told.space),
                    state.watermark if state else None,
                    state.detect_hash if state else None,
                    state.approved_hash if state else None,
                    waiting,
                ),
            )
    return told


def _counters(counts: PlanCounts) -> dict[str, object]:
    kept = ("steps", "found", "new", "known", "planned", "held_out", "skipped", "expired", "waiting", "stale")
    everything = asdict(counts)
    return {name: everything[name] for name in kept}
