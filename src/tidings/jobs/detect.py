"""Who qualifies in a window, counted, with a few examples by id; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tidings.definitions.mistakes import nearest
from tidings.errors import DefinitionError
from tidings.jobs.opening import Opened
from tidings.model.entry import Entry, Window

EXAMPLES = 5
LOOK_BACK = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Example:
    """One who qualifies: by id, never by name or address."""

    customer_id: str
    entered_at: datetime
    about: str


@dataclass(frozen=True, slots=True)
class Found:
    """Everybody found in ``start`` to ``end``: entries, distinct customers, and a few of them."""

    campaign: str
    start: datetime
    end: datetime
    count: int
    customers: int
    examples: tuple[Example, ...]


def run(
    opened: Opened,
    campaign: str,
    *,
    now: datetime | None = None,
    as_of: datetime | None = None,
    since: datetime | None = None,
) -> Found:
    """Count who met the campaign's condition after ``since`` (default: a day) and up to ``as_of`` (default: now)."""
    one = opened.project.campaign(campaign)
    end = as_of or now or datetime.now(UTC)
    start = since or end - LOOK_BACK
    if start >= end:
        raise DefinitionError(f'--since: must be before {end.isoformat()}; found "{start.isoformat()}"')
    count = 0
    customers: set[str] = set()
    examples: list[Example] = []
    for entry in one.detect.entries(opened.shop, Window(start, end)):
        count += 1
        customers.add(entry.customer_id)
        if len(examples) < EXAMPLES:
            examples.append(Example(entry.customer_id, entry.entered_at, about(entry)))
    return Found(one.id, start, end, count, len(customers), tuple(examples))


def about(entry: Entry) -> str:
    """Return what an entry is about in a few words: its sku, or how many products."""
    if entry.sku:
        return entry.sku
    if len(entry.items) == 1:
        return entry.items[0].sku
    return f"{len(entry.items)} products" if entry.items else ""


def first_entry(opened: Opened, campaign: str, customer_id: str | None, now: datetime) -> Entry:
    """Return a recent entry, of this customer if one is named. Raises DefinitionError when there is none."""
    one = opened.project.campaign(campaign)
    end = now
    for days in (1, 7, 60):
        start = now - timedelta(days=days)
        for entry in one.detect.entries(opened.shop, Window(start, end)):
            if customer_id is None or entry.customer_id == customer_id:
                return entry
        end = start
    who = "a customer" if customer_id is None else f'customer "{customer_id}"'
    raise DefinitionError(f"{one.name}: {who} must have qualified in the last 60 days; found none")


def known_step(opened: Opened, campaign: str, step: str) -> None:
    """Raise DefinitionError, with the nearest name, unless the campaign has this step."""
    one = opened.project.campaign(campaign)
    names = [known.name for known in one.steps]
    if step not in names:
        near = nearest(step, names)
        hint = f'; did you mean "{near}"?' if near else ""
        raise DefinitionError(f'{one.name}: step must be {" or ".join(names)}; found "{step}"{hint}')
