"""How far each campaign has scanned, and what each run came to: the watermark never goes back, counters are frozen."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, delete, insert, or_, select, update

from tidings.ledger.bulk import changed, upsert
from tidings.ledger.schema import campaigns, contact_slots, cooldowns, entries, messages, receipts, runs
from tidings.model.message import Space


@dataclass(frozen=True, slots=True)
class CampaignState:
    """How far a campaign has scanned, and which version of its ``detect:`` a person has approved."""

    campaign: str
    space: str
    watermark: datetime | None = None
    detect_hash: str | None = None
    approved_hash: str | None = None
    waiting_count: int | None = None


def campaign_state(conn: Connection, space: str, campaign: str) -> CampaignState | None:
    """Return how far a campaign has scanned in a space; None before its first run."""
    found = conn.execute(
        select(campaigns).where(campaigns.c.space == space, campaigns.c.campaign == campaign)
    ).one_or_none()
    if found is None:
        return None
    return CampaignState(
        found.campaign, found.space, found.watermark, found.detect_hash, found.approved_hash, found.waiting_count
    )


def campaigns_known(conn: Connection) -> list[str]:
    """Return the ids of all campaigns that ever planned live."""
    known = select(campaigns.c.campaign).where(campaigns.c.space == Space.LIVE)
    return list(conn.scalars(known.order_by(campaigns.c.campaign)))


def waiting(conn: Connection) -> list[tuple[str, int]]:
    """Return the campaigns whose first audience waits for approval, with how many that is."""
    c = campaigns.c
    query = select(c.campaign, c.waiting_count).where(c.space == Space.LIVE, c.waiting_count.is_not(None))
    return [(campaign, count) for campaign, count in conn.execute(query.order_by(c.campaign))]


def save_state(conn: Connection, state: CampaignState, now: datetime | None = None) -> None:
    """Keep a campaign's state. The watermark never goes back: of two planners the one that saw further wins."""
    write = upsert(conn, campaigns).values(
        campaign=state.campaign,
        space=state.space,
        watermark=state.watermark,
        detect_hash=state.detect_hash,
        approved_hash=state.approved_hash,
        waiting_count=state.waiting_count,
        updated_at=now,
    )
    kept = ("detect_hash", "approved_hash", "waiting_count", "updated_at")
    conn.execute(
        write.on_conflict_do_update(
            index_elements=["campaign", "space"], set_={name: write.excluded[name] for name in kept}
        )
    )
    if state.watermark is not None:
        behind = or_(campaigns.c.watermark.is_(None), campaigns.c.watermark < state.watermark)
        conn.execute(
            update(campaigns)
            .where(campaigns.c.campaign == state.campaign, campaigns.c.space == state.space, behind)
            .values(watermark=state.watermark)
        )


def start_run(
    conn: Connection,
    run_id: str | None,
    job: str,
    campaign: str = "",
    space: str = Space.LIVE,
    *,
    as_of: datetime,
    now: datetime,
    start: datetime | None = None,
) -> str:
    """Note that a job begins; return the run's id (a random one when None is given)."""
    run_id = run_id or uuid.uuid4().hex
    conn.execute(
        insert(runs).values(
            id=run_id, job=job, campaign=campaign, space=space, as_of=as_of, window_start=start, started_at=now
        )
    )
    return run_id


def end_run(
    conn: Connection, run_id: str, counters: Mapping[str, Any], *, now: datetime, error: str | None = None
) -> None:
    """Freeze a run's counters; a run that has ended stays as it was."""
    conn.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.ended_at.is_(None))
        .values(ended_at=now, counters=orjson.dumps(dict(counters)).decode(), error=error)
    )


def drop_dry_run(conn: Connection, campaign: str) -> int:
    """Remove what a campaign planned in its dry-run space; return how many entries that were."""
    dry = (entries.c.space == Space.DRY_RUN, entries.c.campaign == campaign)
    gone = select(messages.c.id).join(entries, entries.c.id == messages.c.entry_id).where(*dry)
    for kept in (receipts, contact_slots):
        conn.execute(delete(kept).where(kept.c.message_id.in_(gone)))
    conn.execute(delete(messages).where(messages.c.entry_id.in_(select(entries.c.id).where(*dry))))
    for kept in (cooldowns, campaigns):
        conn.execute(delete(kept).where(kept.c.campaign == campaign, kept.c.space == Space.DRY_RUN))
    return changed(conn, delete(entries).where(*dry))
