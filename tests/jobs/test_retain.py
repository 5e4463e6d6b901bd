"""Retention: what has served goes, what protects people and what reports count stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from small_shop import DAY, HOUR, MINUTE, NOON, Day, SmallShop, lay_out
from sqlalchemy import func, select

from tidings.jobs import forget, measure, report, retain
from tidings.ledger import engagements, people, schema
from tidings.ledger import retention as rows
from tidings.model.engagement import Engagement, EngagementKind
from tidings.sandbox.server import Sandbox
from tidings.settings.retention import Retention

YEARS = 4 * 365 * DAY


@pytest.fixture(params=["sqlite", "postgresql"])
def lived(
    request: pytest.FixtureRequest, tmp_path: Path, sandbox: Sandbox, open_day: Callable[[SmallShop], Day]
) -> Day:
    """Three people were written to; one clicked, one complained, one was sent nothing more."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    shop = lay_out(tmp_path / "shop", ledger_url=url, sandbox_url=sandbox.url)
    shop.product()
    for who in ("ann", "bo", "cy"):
        shop.customer(who)
        shop.cart(who)
    shop.load()
    day = open_day(shop)
    day.plan(NOON)
    day.dispatch(NOON + MINUTE)
    sent = day.messages(status="sent")
    events = [
        Engagement("c-1", sent[0].id, EngagementKind.CLICKED, NOON + HOUR, detail="Mozilla"),
        Engagement("s-1", sent[1].id, EngagementKind.COMPLAINED, NOON + HOUR),
        Engagement("x-1", "f" * 32, EngagementKind.DELIVERED, NOON + HOUR),
    ]
    with day.opened.ledger.writing() as conn:
        engagements.take(conn, events, NOON + HOUR, provider="sendgrid")
        people.suppress(conn, ["a:1", "p:bo"], channel="email", reason="complaint", at=NOON, source="sendgrid")
    measure.run(day.opened, now=NOON + 20 * DAY)
    return day


def count(day: Day, table: Any) -> int:
    with day.opened.ledger.reading() as conn:
        return conn.scalar(select(func.count()).select_from(table)) or 0


def reported(day: Day, at: datetime) -> Any:
    found = asdict(report.run(day.opened, now=at, first=NOON.date(), last=(NOON + DAY).date()))
    return {name: value for name, value in found.items() if name not in ("measured_at", "generated_at", "as_of")}


def test_after_years_only_what_reports_and_opt_outs_need_is_left(lived: Day) -> None:
    later = NOON + YEARS
    before, shut = reported(lived, later), count(lived, schema.suppressions)

    done = retain.run(lived.opened, now=later)

    assert done.finished
    assert reported(lived, later) == before
    assert count(lived, schema.suppressions) == shut > 0
    assert [count(lived, one) for one in (schema.unmatched_events, schema.contact_slots, schema.cooldowns)] == [0] * 3
    assert {(one.detail, one.provider_id, one.address_hash) for one in lived.messages()} == {(None, None, None)}
    assert count(lived, schema.engagements) == 2


def test_nothing_young_is_touched_and_a_second_run_finds_nothing(lived: Day) -> None:
    young = retain.run(lived.opened, now=NOON + 30 * DAY)
    first = retain.run(lived.opened, now=NOON + YEARS)
    second = retain.run(lived.opened, now=NOON + YEARS)

    assert set(young.taken_out.values()) == {0}
    assert sum(first.taken_out.values()) > 0
    assert set(second.taken_out.values()) == {0}


def test_a_dry_run_counts_what_the_real_one_takes(lived: Day) -> None:
    counted = retain.run(lived.opened, now=NOON + YEARS, dry_run=True)
    again = retain.run(lived.opened, now=NOON + YEARS, dry_run=True)

    assert counted == again
    assert retain.run(lived.opened, now=NOON + YEARS).taken_out == counted.taken_out


def test_it_goes_on_where_its_time_was_up(lived: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BATCH", 1)
    ticks = iter(range(10_000))

    cut = retain.run(lived.opened, now=NOON + YEARS, budget=timedelta(seconds=3), clock=lambda: float(next(ticks)))
    rest = retain.run(lived.opened, now=NOON + YEARS)

    assert not cut.finished
    assert rest.finished
    assert count(lived, schema.contact_slots) == 0


def test_it_finishes_forgetting_whom_another_process_had_still_in_mind(lived: Day) -> None:
    forget.run(lived.opened, "bo", now=NOON + DAY)
    with lived.opened.ledger.writing() as conn:
        people.suppress(conn, ["p:bo"], channel="sms", reason="stop", at=NOON, source="late")

    done = retain.run(lived.opened, now=NOON + DAY)

    assert done.forgotten == 1
    with lived.opened.ledger.reading() as conn:
        assert "p:bo" not in set(conn.scalars(select(schema.suppressions.c.subject)))


@pytest.mark.parametrize(
    ("name", "given"), [("message_detail", "90d"), ("receipts", "1d"), ("raw_events", "1d")], ids=str
)
def test_nothing_can_be_kept_shorter_than_it_is_needed(name: str, given: str) -> None:
    with pytest.raises(ValidationError, match="must be at least"):
        Retention.model_validate({name: given})
