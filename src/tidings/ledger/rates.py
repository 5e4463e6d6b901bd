"""How often messages bounced or were complained about, counted over sets; and what mailbox providers say themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, distinct, func, select, true

from tidings.ledger import bulk
from tidings.ledger.bulk import TEXT, TIME, upsert
from tidings.ledger.schema import UTCTime, engagements, mailbox_rates, messages, settings
from tidings.model.engagement import EngagementKind
from tidings.model.message import Space

m, e, r = messages.c, engagements.c, mailbox_rates.c

_COUNTED = (EngagementKind.DELIVERED, EngagementKind.BOUNCED, EngagementKind.COMPLAINED)
_LOOKED = "rates_looked_at"


@dataclass(frozen=True, slots=True)
class Tally:
    """What came back of the messages of one campaign to one mailbox provider, each message counted once."""

    campaign: str
    channel: str
    mailbox: str
    delivered: int
    bounced: int
    complained: int


@dataclass(frozen=True, slots=True)
class GivenRate:
    """What a mailbox provider said about one day of one sending domain: complaints as a share of its inbox mail."""

    mailbox: str
    domain: str
    day: datetime
    rate: float


def tallies(conn: Connection, *, since: datetime) -> list[Tally]:
    """Return what came back of live messages sent since a moment, by campaign, channel and mailbox provider.

    A message that was delivered and bounced later counts as both; a complaint proves a delivery.
    """
    delivered = case((e.kind.in_((EngagementKind.DELIVERED, EngagementKind.COMPLAINED)), m.id))
    bounced = case((e.kind == EngagementKind.BOUNCED, m.id))
    complained = case((e.kind == EngagementKind.COMPLAINED, m.id))
    mailbox = func.coalesce(m.mailbox, "")
    found = (
        select(
            m.campaign, m.channel, mailbox, func.count(distinct(delivered)), func.count(distinct(bounced)),
            func.count(distinct(complained)),
        )
        .join(messages, m.id == e.message_id)
        .where(e.at >= since, e.kind.in_(_COUNTED), m.sending_at >= since, m.space == Space.LIVE)
        .group_by(m.campaign, m.channel, mailbox)
    )  # fmt: skip
    return [Tally(*row) for row in conn.execute(found)]


def keep_given(conn: Connection, rates: Sequence[GivenRate], *, now: datetime) -> int:
    """Keep what mailbox providers said; a later file about the same day replaces it. Return how many changed."""
    if not rates:
        return 0
    columns: dict[str, Any] = {"mailbox": TEXT, "domain": TEXT, "day": TIME, "rate": r.complaint_rate.type}
    distinct_rates = {(one.mailbox, one.domain, one.day): one for one in rates}
    rows = [(*key, distinct_rates[key].rate) for key in sorted(distinct_rates)]
    given = bulk.given(conn, columns, rows)
    names = ["mailbox", "domain", "day", "complaint_rate", "given_at"]
    write = upsert(conn, mailbox_rates).from_select(
        names,
        select(given.c.mailbox, given.c.domain, given.c.day, given.c.rate, bulk.literal(now, UTCTime())).where(true()),
    )
    replaced = write.on_conflict_do_update(
        index_elements=["mailbox", "domain", "day"],
        set_={"complaint_rate": write.excluded.complaint_rate, "given_at": write.excluded.given_at},
        where=mailbox_rates.c.complaint_rate != write.excluded.complaint_rate,
    )
    return len(conn.execute(replaced.returning(r.domain)).all())


def given_rates(conn: Connection, *, since: datetime) -> list[GivenRate]:
    """Return what mailbox providers said about the days since a moment, oldest first."""
    rows = conn.execute(
        select(r.mailbox, r.domain, r.day, r.complaint_rate).where(r.day >= since).order_by(r.mailbox, r.domain, r.day)
    )
    return [GivenRate(*row) for row in rows]


def take_turn(conn: Connection, *, now: datetime, not_since: datetime) -> bool:
    """Return whether it is this caller's turn to count the rates: nobody has done so after ``not_since``."""
    row = {"name": _LOOKED, "value": "", "number": now.timestamp()}
    write = upsert(conn, settings).values(**row)
    older = settings.c.number <= not_since.timestamp()
    later = settings.c.number > now.timestamp()  # a simulation of the past is not held up by a later one
    replaced = write.on_conflict_do_update(
        index_elements=["name"], set_={"number": write.excluded.number}, where=older | later
    )
    return conn.execute(replaced.returning(settings.c.name)).first() is not None
