"""Retention: what has served is taken out, a batch a commit; it may stop anywhere and goes on the next night."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tidings.jobs.opening import Opened
from tidings.ledger import erasing, retention
from tidings.settings.retention import Retention

log = logging.getLogger(__name__)

BUDGET = timedelta(minutes=20)


@dataclass(frozen=True, slots=True)
class Retained:
    """How many rows of each category were taken out, or would be; ``forgotten`` ids had been written late.

    ``finished`` is false when the time was up: the next run goes on.
    """

    taken_out: Mapping[str, int] = field(default_factory=dict)
    forgotten: int = 0
    finished: bool = True


def run(
    opened: Opened,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
    budget: timedelta = BUDGET,
    clock: Callable[[], float] = time.monotonic,
) -> Retained:
    """Take out what is older than the settings allow; ``dry_run`` only counts. Running it twice changes nothing."""
    now = now or opened.ledger.now()
    until = clock() + budget.total_seconds()
    taken: dict[str, int] = {}
    finished = True
    for category in Retention.model_fields:
        before = now - _limit(opened, category)
        taken[category] = 0
        for step in retention.steps(category):
            count, whole = _repeated(opened, step, before, dry_run, lambda: clock() < until)
            taken[category] += count
            finished = finished and whole
    forgotten = 0 if dry_run else _late(opened)
    log.info("retained dry_run=%s forgotten=%d %s", dry_run, forgotten, " ".join(f"{n}={c}" for n, c in taken.items()))
    return Retained(taken, forgotten, finished)


def _limit(opened: Opened, category: str) -> timedelta:
    limit: timedelta = getattr(opened.settings.retention, category)
    if category != "contacts":
        return limit
    return max([limit, *(cap.per for cap in opened.settings.caps)])


def _repeated(
    opened: Opened, step: retention.Step, before: datetime, dry_run: bool, in_time: Callable[[], bool]
) -> tuple[int, bool]:
    if dry_run:
        with opened.ledger.reading() as conn:
            return step(conn, before, True), True
    total = 0
    while in_time():
        with opened.ledger.writing() as conn:
            erasing.tidy(conn)
            many = step(conn, before, False)
        total += many
        if many == 0:
            return total, True
    return total, False


def _late(opened: Opened) -> int:
    """Finish what a process that knew somebody while they were forgotten has written since."""
    with opened.ledger.reading() as conn:
        left = erasing.leftovers(conn, opened.secrets.pepper)
    if left:
        with opened.ledger.writing() as conn:
            erasing.erase(conn, left, (), opened.secrets.pepper)
    return len(left)
