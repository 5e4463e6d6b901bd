"""Sealing: when a day (UTC) is over, the receipts of what left in it join the chain, and its head is told."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidings.jobs.opening import Opened
from tidings.ledger import receipts
from tidings.ledger.receipts import Link

log = logging.getLogger(__name__)

_DAY = timedelta(days=1)
# A message in doubt is settled some days later; so much later again, it is looked for no more.
GRACE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class SealCounts:
    """One run: how many receipts joined the chain, and the heads of the latest days, oldest first."""

    sealed: int
    until: datetime
    heads: tuple[Link, ...]


def run(opened: Opened, *, now: datetime | None = None) -> SealCounts:
    """Seal every finished day that is not sealed yet. Running it again, or twice at once, changes nothing."""
    now = now or opened.ledger.now()
    until = now.replace(hour=0, minute=0, second=0, microsecond=0)
    with opened.ledger.reading() as conn:
        last = receipts.head(conn)
    sealed = 0
    if last is None or last.day + _DAY < until:
        first_day = None if last is None else last.day + _DAY
        since = None if last is None else last.day - _back(opened)
        after = None
        while True:
            with opened.ledger.writing() as conn:
                some = receipts.seal_some(conn, first_day=first_day, until=until, since=since, after=after)
            sealed, after = sealed + some.count, some.after
            if after is None:
                break
    with opened.ledger.reading() as conn:
        heads = tuple(receipts.heads(conn))
    # The head belongs outside the ledger as well: whoever rewrites the whole chain cannot rewrite a log.
    for one in heads if sealed else ():
        if last is None or one.day > last.day:
            log.info("sealed day=%s receipts=%d head=%s", one.day.date(), one.position + 1, one.chain)
    return SealCounts(sealed, until, heads)


def _back(opened: Opened) -> timedelta:
    return opened.settings.dispatch.presume_lost_after + GRACE
