"""The report that every door prints: a number of the shop's days, up to today unless a last day is named."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from tidings.errors import DefinitionError
from tidings.jobs.opening import Opened
from tidings.measure import report
from tidings.measure.calendar import DAY, day_of, midnight
from tidings.measure.figures import Report

# So many days before the last one, which is shown as well.
DAYS_BACK = timedelta(days=28)


def today(opened: Opened, *, now: datetime | None = None) -> date:
    """Return the day it is in the shop."""
    return day_of(now or opened.ledger.now(), opened.settings.brand.zone)


def run(
    opened: Opened,
    *,
    first: date | None = None,
    last: date | None = None,
    currency: str | None = None,
    now: datetime | None = None,
) -> Report:
    """Return the figures from ``first`` (default: 28 days before the last) to ``last`` (default: today), inclusive.

    Reads only the ledger. Raises DefinitionError when the days are the wrong way round.
    """
    now = now or opened.ledger.now()
    last = last or today(opened, now=now)
    first = first or last - DAYS_BACK
    if first > last:
        raise DefinitionError(f'--from: must not be after {last}; found "{first}"')
    zone = opened.settings.brand.zone
    return report.build(
        opened.ledger,
        opened.project,
        start=midnight(first, zone),
        end=midnight(last + DAY, zone),
        currency=currency.upper() if currency else None,
        now=now,
    )
