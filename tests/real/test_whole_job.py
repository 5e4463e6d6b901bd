"""The whole job on real shops, in their own years: from the warehouse to sent messages and what they earned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from real_shop import Lived, answered
from sqlalchemy import select

from tidings.ledger import schema
from tidings.model.message import Status

Live = Callable[[str, str], Lived]
# Half a minute of work for PostgreSQL, which has neither a column store nor an index on what a mapping computes.
HEAVY = pytest.param(("online_retail", "postgresql"), marks=pytest.mark.slow, id="online_retail-postgresql")


@pytest.fixture(
    params=[("rees46", "duckdb"), ("rees46", "postgresql"), ("online_retail", "duckdb"), HEAVY], ids="-".join
)
def shop(request: pytest.FixtureRequest, lived: Live) -> Lived:
    """Each real shop on each kind of databases, its whole job done."""
    return lived(*request.param)


@pytest.fixture(params=["duckdb", pytest.param("postgresql", marks=pytest.mark.slow)])
def retail(request: pytest.FixtureRequest, lived: Live) -> Lived:
    return lived("online_retail", request.param)


@pytest.mark.parametrize("kind", ["duckdb", "postgresql"])
def test_rees46_has_36_customers_with_an_abandoned_cart_in_the_ledger(lived: Live, kind: str) -> None:
    shop = lived("rees46", kind)

    entries = shop.rows(schema.entries, campaign="cart_abandonment")

    assert shop.plans["cart_abandonment"].found == len(entries) == len({row.customer_id for row in entries}) == 36
    assert shop.plans["browse_abandonment"].found > 300


def test_online_retail_has_44_lapsed_customers_in_the_ledger_and_609_in_a_dry_run_of_all(retail: Lived) -> None:
    live, dry = (retail.rows(schema.entries, campaign=name) for name in ("win_back", "every_win_back"))

    assert {row.space for row in live} == {"live"}
    assert {row.space for row in dry} == {"dry_run"}
    assert (len({row.customer_id for row in live}), len({row.customer_id for row in dry})) == (44, 609)
    assert all(retail.plans[name].found > 0 for name in ("price_drop", "back_in_stock"))


def test_every_run_s_counters_add_up(shop: Lived) -> None:
    for one in [*shop.plans.values(), *shop.again.values()]:
        assert one.found == one.new + one.known
        assert one.new * one.steps == one.planned + sum(one.skipped.values()) + one.expired
        assert (one.waiting, one.stale) == (None, None)
    for done in [*shop.dispatches, *shop.repeated, *([shop.dry] if shop.dry else [])]:
        assert done.claimed == sum(answered(done).values())


def test_every_entry_has_an_answer_for_every_step(shop: Lived) -> None:
    steps = {name: one.steps for name, one in shop.plans.items()}
    asked = Counter(row.entry_id for row in shop.rows(schema.messages))

    assert all(asked[row.id] == steps[row.campaign] for row in shop.rows(schema.entries))
    assert {row.status for row in shop.messages()} <= {
        Status.SENT, Status.HELD_OUT, Status.SKIPPED, Status.CANCELLED, Status.EXPIRED
    }  # fmt: skip


def test_what_the_sandbox_accepted_is_what_the_ledger_calls_sent(shop: Lived) -> None:
    accepted = {one.message: one.id for one in shop.sandbox.store.messages}

    assert accepted == {row.id: row.provider_id for row in shop.messages(status="sent")}
    assert len(accepted) == len(shop.sandbox.store.messages) == sum(one.sent for one in shop.dispatches) > 50
    assert shop.sandbox.store.repeated == set()
    assert shop.sandbox.providers.refused == 0


def test_the_same_plans_and_dispatches_again_find_everybody_known_and_send_nothing(shop: Lived) -> None:
    # The ledger's watermarks were lost in between, so that all of them were looked for again.
    assert {name: (one.found, one.new) for name, one in shop.again.items()} == {
        name: (one.found, 0) for name, one in shop.plans.items()
    }
    assert sum(one.claimed for one in shop.repeated) == 0


def test_nobody_is_written_to_at_night_or_without_permission(shop: Lived) -> None:
    zones = {"Tokyo": ZoneInfo("Asia/Tokyo"), "London": ZoneInfo("Europe/London")}
    sent = shop.messages(status="sent")

    for row in sent:
        even = shop.story.currency == "USD" and int(row.customer_id) % 2 == 0
        local = row.sent_at.astimezone(zones["Tokyo" if even else "London"]).time()
        assert time(8) <= local < time(20)
    assert not [row for row in sent if row.customer_id.endswith("7")]
    assert {row.reason for row in shop.messages(status="skipped") if row.customer_id.endswith("7")} >= {"no_consent"}


def test_every_recorded_moment_is_of_the_shop_s_own_time(shop: Lived) -> None:
    tables = (schema.entries, schema.messages, schema.runs, schema.engagements, schema.credits, schema.revenue_days)
    first, last = 2009, shop.story.measured_at + timedelta(minutes=10)  # a run ends as much later as it took
    # Those are not something that happened; and a webhook comes in when it comes in, whatever moment it tells of.
    bounds = ("lease_until", "expires_at", "window_start", "received_at")

    for table in tables:
        times = [column.name for column in table.columns if isinstance(column.type, schema.UTCTime)]
        for row in shop.rows(table):
            told = {name: getattr(row, name) for name in times if name not in bounds}
            assert all(at is None or (first <= at.year and at <= last) for at in told.values()), (table.name, told)


def test_nobody_is_written_to_about_something_they_bought_since(retail: Lived) -> None:
    orders = retail.opened.shop.tables["orders"]
    bought: dict[str, list[datetime]] = {}
    for row in retail.opened.shop.stream(select(orders.c.customer_id, orders.c.ordered_at)):
        bought.setdefault(row.customer_id, []).append(row.ordered_at)
    anchors = {row.id: row.anchor_at for row in retail.rows(schema.entries)}

    for row in retail.messages(status="sent"):
        assert not [at for at in bought[row.customer_id] if anchors[row.entry_id] < at <= row.sent_at]
    assert [row for row in retail.messages(status="skipped") if row.reason == "purchased"]


def test_the_orders_within_five_days_of_a_click_are_credited_and_no_others(retail: Lived) -> None:
    orders = retail.opened.shop.tables["orders"]
    clicks: dict[str, list[datetime]] = {}
    sent = {row.id: row.customer_id for row in retail.messages(status="sent")}
    for row in retail.rows(schema.engagements, kind="clicked"):
        clicks.setdefault(sent[row.message_id], []).append(row.at)
    query = select(orders.c.order_id, orders.c.customer_id, orders.c.ordered_at, orders.c.total)
    expected = {
        row.order_id: row.total
        for row in retail.opened.shop.stream(query)
        if row.ordered_at <= retail.story.measured_at
        and any(timedelta(0) <= row.ordered_at - at <= timedelta(days=5) for at in clicks.get(row.customer_id, ()))
    }

    assert {row.order_id: row.net for row in retail.rows(schema.credits)} == expected
    assert len(expected) > 5
    assert retail.report is not None
    assert retail.report.totals.revenue == sum(expected.values())
    assert retail.measured is not None
    assert retail.measured.revenue == {"GBP": 883200326}


def test_the_report_says_what_the_ledger_says(shop: Lived) -> None:
    assert shop.report is not None
    figures = {one.campaign: one for one in shop.report.campaigns}

    for name, counts in shop.plans.items():
        if counts.space == "dry_run":
            continue
        said = Counter(str(row.status) for row in shop.messages(campaign=name))
        assert (figures[name].found, figures[name].sent, figures[name].held_out) == (
            counts.found, said["sent"], said["held_out"]
        )  # fmt: skip
        assert figures[name].clicked == len(shop.messages(campaign=name, status="sent", channel="email"))


@pytest.mark.parametrize("name", ["rees46", pytest.param("online_retail", marks=pytest.mark.slow)])
def test_both_kinds_of_database_give_equal_results(lived: Live, name: str) -> None:
    files, servers = lived(name, "duckdb"), lived(name, "postgresql")

    assert files.answers() == servers.answers()
    assert files.measured == servers.measured
    assert files.report == servers.report
