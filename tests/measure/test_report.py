"""The report adds up: every planned message is somewhere, every person counts once, money stays in its currency."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from tidings.definitions import Project, load
from tidings.ledger import brakes, progress, results, schema
from tidings.ledger.results import Credit, PersonOutcome
from tidings.ledger.store import Ledger, migrate
from tidings.measure import report
from tidings.measure.figures import Report, Verdict

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
# Midnight in Helsinki.
START = datetime(2026, 11, 1, 22, tzinfo=UTC)
END = START + 7 * DAY
NOW = END + 30 * DAY
SHOP = """\
shop: fenmark
brand: {name: Fenmark, legal_name: Fenmark Oy, postal_address: "Kajokatu 1, 00100 Helsinki, Finland",
        url: "https://fenmark.example", zone: Europe/Helsinki, currency: EUR, country: FI}
senders: {email: {from: hello@fenmark.example}}
"""
MAPPING = """\
database: {kind: duckdb, files: {orders: o.parquet, product_events: e.parquet}}
tables: {orders: {}, product_events: {}}
"""
CAMPAIGN = """\
id: {id}
title: {title}
mode: live
detect: {{type: {id}_abandonment}}
schedule: "@hourly"
steps: [{{name: one, channel: email, template: one}}]
holdout: 50%
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "triggers").mkdir()
    (folder / "message_templates").mkdir()
    (folder / "message_templates" / "one.mjml").write_text("<mjml></mjml>")
    (folder / "tidings.yaml").write_text(SHOP)
    (folder / "warehouse.yaml").write_text(MAPPING)
    for name, title in (("cart", "Cart"), ("browse", "Browse")):
        (folder / "triggers" / f"{name}.yaml").write_text(CAMPAIGN.format(id=name, title=title))
    found = load(folder)
    assert sorted(found.campaigns) == ["browse", "cart"], found.mistakes
    return found


@pytest.fixture(scope="module")
def on_postgres(kept_postgres: Callable[[], str]) -> Iterator[Ledger]:
    url = kept_postgres()
    migrate(url)
    ledger = Ledger.open(url)
    yield ledger
    ledger.close()


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    url = f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db"
    migrate(url)
    ledger = Ledger.open(url)
    yield ledger
    ledger.close()


class Books:
    """A ledger of what the test says."""

    def __init__(self, ledger: Ledger, project: Project) -> None:
        self.ledger, self.project = ledger, project
        self._numbers = itertools.count(1)

    def message(
        self, who: str = "", status: str = "sent", *, campaign: str = "cart", at: datetime = START, reason: str = "",
        born: bool = False, seen: tuple[str, ...] = (), machine: bool = False, channel: str = "email",
        planned_at: datetime | None = None,
    ) -> None:  # fmt: skip
        """Keep an entry with one message; ``born`` says that planning ended it at once."""
        number = next(self._numbers)
        entry, message, who = f"e{number:031}", f"m{number:031}", who or f"p{number}"
        held_out = status == "held_out"
        open_, exposed = status in ("planned", "claimed", "sending"), status in ("sent", "held_out", "unknown")
        with self.ledger.writing() as conn:
            conn.execute(insert(schema.entries).values(
                id=entry, space="live", campaign=campaign, entry_key=entry, customer_id=who, sku="", anchor_at=at,
                entered_at=at, planned_at=planned_at or at, arm="held_out" if held_out else "treated", variant="",
                seen="{}", run_id="r",
            ))  # fmt: skip
            conn.execute(insert(schema.messages).values(
                id=message, entry_id=entry, space="live", campaign=campaign, step="one", step_no=0, channel=channel,
                customer_id=who, shard=0, priority=1, held_out=held_out, status=status, reason=reason or None,
                send_at=at, first_send_at=at, expires_at=at + DAY, attempt=0, deferrals=0,
                token=None if born or status == "planned" else "t", sending_at=at if exposed else None,
                ended_at=None if open_ else at, sent_at=at if status == "sent" else None,
            ))  # fmt: skip
            for kind in seen:
                conn.execute(insert(schema.engagements).values(
                    id=f"g{next(self._numbers)}", message_id=message, kind=kind, at=at, received_at=at, machine=machine
                ))  # fmt: skip

    def credit(self, net: int, at: datetime, *, campaign: str = "cart", currency: str = "EUR") -> None:
        order = f"o{next(self._numbers)}"
        one = Credit(order, "m", campaign, currency, max(net, 100), net, at, at - HOUR, "clicked")
        with self.ledger.writing() as conn:
            results.replace_credits(conn, [order], [one], now=NOW)

    def spent(
        self, amounts: list[int], *, arm: str = "treated", campaign: str = "cart", at: datetime = START,
        currency: str = "EUR", who: str = "p",
    ) -> None:  # fmt: skip
        """Keep one exposed person for every amount, 0 for those who bought nothing."""
        rows = [
            PersonOutcome(
                campaign, f"{who}-{arm}-{number}", currency, arm, "", at, at + 14 * DAY,
                int(amount > 0), amount,
            )
            for number, amount in enumerate(amounts)
        ]  # fmt: skip
        with self.ledger.writing() as conn:
            results.replace_outcomes_of(conn, [], rows, now=NOW)

    def earned(self, day: datetime, net: int, orders: int = 1, currency: str = "EUR") -> None:
        with self.ledger.writing() as conn:
            values = {"day": day, "currency": currency, "orders": orders, "gross": net, "net": net}
            conn.execute(insert(schema.revenue_days).values(**values))

    def measured(self, at: datetime = NOW, error: str | None = None) -> None:
        with self.ledger.writing() as conn:
            run = progress.start_run(conn, None, "measure", as_of=at, now=at)
            progress.end_run(conn, run, {}, now=at, error=error)

    def build(self, **given: Any) -> Report:
        values = {"start": START, "end": END, "now": NOW, **given}
        return report.build(self.ledger, self.project, **values)

    def cart(self, **given: Any) -> Any:
        return next(one for one in self.build(**given).campaigns if one.campaign == "cart")


@pytest.fixture(params=["sqlite", "postgres"])
def books(request: pytest.FixtureRequest, project: Project) -> Books:
    ledger = request.getfixturevalue(f"on_{request.param}")
    with ledger.writing() as conn:
        for table in reversed(schema.metadata.sorted_tables):
            conn.execute(table.delete())
    return Books(ledger, project)


def test_every_planned_message_is_sent_held_out_not_sent_or_open(books: Books) -> None:
    for status, reason, times in (
        ("sent", "", 5), ("held_out", "", 3), ("planned", "", 1), ("claimed", "", 1), ("skipped", "capped", 2),
        ("skipped", "no_consent", 1), ("cancelled", "purchased", 2), ("expired", "", 1), ("failed", "rejected", 1),
        ("unknown", "", 1),
    ):  # fmt: skip
        for _ in range(times):
            books.message(status=status, reason=reason)
    books.message(status="skipped", reason="no_address", born=True)
    books.message(status="skipped", reason="capped", born=True)
    books.message(status="expired", reason="backfill", born=True)

    cart = books.cart()

    assert (cart.found, cart.planned, cart.sent, cart.held_out, cart.open) == (21, 18, 5, 3, 2)
    assert (cart.not_sent, cart.expired, cart.failed, cart.unknown) == (8, 1, 1, 1)
    assert (cart.skipped, cart.cancelled) == ({"capped": 2, "no_consent": 1}, {"purchased": 2})
    assert cart.refused == {"backfill": 1, "capped": 1, "no_address": 1}
    assert cart.planned == cart.sent + cart.held_out + cart.not_sent + cart.open
    assert cart.found * 1 == cart.planned + sum(cart.refused.values())


def test_a_campaign_without_anything_shows_zeros(books: Books) -> None:
    found = books.build()

    assert [(one.title, one.found, one.planned, one.revenue) for one in found.campaigns] == [
        ("Browse", 0, 0, 0), ("Cart", 0, 0, 0),
    ]  # fmt: skip
    assert found.totals.incremental is not None
    assert found.totals.incremental.verdict is Verdict.NOT_MEASURED


def test_only_people_click(books: Books) -> None:
    books.message(seen=("delivered", "clicked", "clicked"))
    books.message(seen=("delivered",))
    books.message(seen=("clicked",), machine=True)
    books.message(seen=("bounced", "complained", "unsubscribed"), channel="sms")

    cart = books.cart()

    assert (cart.delivered, cart.clicked, cart.bounced, cart.complained, cart.unsubscribed) == (2, 1, 1, 1, 1)
    assert cart.sent_by_channel == {"email": 3, "sms": 1}


def test_a_person_counts_once_whatever_wrote_to_them(books: Books) -> None:
    for campaign, who in (("cart", "ann"), ("cart", "ann"), ("browse", "ann"), ("browse", "bo")):
        books.message(who, campaign=campaign)

    found = books.build()

    assert [one.recipients for one in found.campaigns] == [2, 1]
    assert (found.totals.recipients, found.totals.sent) == (2, 4)


def test_the_period_is_whole_days_of_the_shop_and_half_open(books: Books) -> None:
    for at in (START - timedelta(microseconds=1), START, END - timedelta(microseconds=1), END):
        books.message(at=at)
        books.credit(100, at)

    cart = books.cart(start=START + 5 * HOUR, end=END - 3 * HOUR)

    assert (cart.found, cart.orders, cart.revenue) == (2, 2, 200)


def test_the_days_before_are_as_many_across_a_clock_change(books: Books) -> None:
    found = books.build(start=datetime(2026, 10, 25, 22, tzinfo=UTC), end=datetime(2026, 10, 27, 22, tzinfo=UTC))

    # Two days of Helsinki, of which the first has 25 hours.
    assert found.before_start == datetime(2026, 10, 23, 21, tzinfo=UTC)


def test_the_period_before_is_told_beside_this_one(books: Books) -> None:
    books.message("ann", at=START - DAY)
    books.message("bo", at=START - DAY)
    books.message("bo", at=START - 2 * DAY, campaign="browse")
    books.credit(700, START - DAY)
    books.credit(300, START)

    found = books.build()
    cart = books.cart()

    assert (cart.revenue, cart.revenue_before, cart.orders, cart.orders_before) == (300, 700, 1, 1)
    assert (cart.recipients, cart.recipients_before, found.totals.recipients_before) == (0, 2, 2)


def test_an_order_that_was_undone_is_no_order(books: Books) -> None:
    books.credit(0, START)
    books.credit(900, START)

    assert (books.cart().orders, books.cart().revenue) == (1, 900)


def test_currencies_are_never_summed(books: Books) -> None:
    books.credit(100, START)
    books.credit(5_000, START, currency="SEK")
    books.earned(START, 1_000)
    books.earned(START, 50_000, currency="SEK")
    books.spent([0, 100], arm="treated")
    books.spent([9_000], arm="treated", currency="SEK", who="q")

    euros, crowns = books.build(), books.build(currency="SEK")

    assert euros.currencies == crowns.currencies == ("EUR", "SEK")
    assert (euros.currency, euros.totals.revenue, euros.total_revenue) == ("EUR", 100, 1_000)
    assert (crowns.currency, crowns.totals.revenue, crowns.total_revenue) == ("SEK", 5_000, 50_000)
    arms = [found.campaigns[1].incremental.treated for found in (euros, crowns)]  # type: ignore[union-attr]
    assert [(arm.persons, arm.buyers, arm.revenue) for arm in arms] == [(3, 1, 100), (3, 1, 9_000)]


def test_days_are_the_shops_own(books: Books) -> None:
    books.credit(100, START)
    books.credit(200, START + DAY - timedelta(seconds=1))
    books.credit(400, START + DAY, campaign="browse")

    days = books.build().days

    assert [(one.day, one.campaign, one.revenue, one.orders) for one in days] == [
        (date(2026, 11, 2), "cart", 300, 2), (date(2026, 11, 3), "browse", 400, 1),
    ]  # fmt: skip


def test_what_was_spent_is_compared_over_everybody_exposed(books: Books) -> None:
    books.spent([2_000] * 40 + [0] * 60, arm="treated")
    books.spent([1_000] * 30 + [0] * 70, arm="held_out")
    books.measured()

    found = books.cart().incremental

    assert (found.treated.persons, found.treated.buyers, found.treated.revenue) == (100, 40, 80_000)
    assert (found.held_out.persons, found.held_out.buyers, found.held_out.revenue) == (100, 30, 30_000)
    assert (found.difference, found.total) == (500.0, 50_000)
    assert found.verdict is Verdict.PROVEN
    assert found.low > 0
    assert not found.maturing


def test_few_buyers_prove_nothing(books: Books) -> None:
    books.spent([2_000] * 24 + [0] * 76, arm="treated")
    books.spent([0] * 100, arm="held_out")

    found = books.cart().incremental

    assert (found.verdict, found.total) == (Verdict.NOT_ENOUGH, None)


def test_open_windows_are_told(books: Books) -> None:
    books.spent([2_000] * 40, arm="treated")
    books.spent([1_000] * 40, arm="held_out")
    books.measured(at=START + 14 * DAY - HOUR)
    early = books.cart().incremental.maturing
    books.measured(at=START + 14 * DAY)

    assert (early, books.cart().incremental.maturing) == (True, False)


def test_arms_that_do_not_fit_the_split_are_told_and_left_out_of_the_sum(books: Books) -> None:
    books.spent([2_000] * 400, arm="treated")
    books.spent([1_000] * 100, arm="held_out")

    found = books.build()

    assert found.campaigns[1].incremental is not None
    assert found.campaigns[1].incremental.suspect
    assert found.totals.incremental is not None
    assert found.totals.incremental.left_out == ("cart",)
    assert found.totals.incremental.total is None


def test_all_campaigns_together_are_the_sum_and_no_surer_than_its_parts(books: Books) -> None:
    for campaign in ("cart", "browse"):
        books.spent([2_000] * 40 + [0] * 60, arm="treated", campaign=campaign)
        books.spent([1_000] * 30 + [0] * 70, arm="held_out", campaign=campaign)

    found = books.build()
    one, both = found.campaigns[0].incremental, found.totals.incremental

    assert one is not None
    assert both is not None
    assert (both.total, both.treated.persons) == (100_000, 200)
    width, single = both.total_high - both.total_low, one.total_high - one.total_low  # type: ignore[operator]
    assert single * 1.41 < width < single * 1.42


def test_a_campaign_without_a_file_is_not_lost_from_the_total(books: Books) -> None:
    books.message(campaign="gone")
    books.credit(500, START, campaign="gone")

    found = books.build()

    assert [(one.campaign, one.mode, one.sent, one.revenue) for one in found.campaigns][-1] == ("gone", "gone", 1, 500)
    assert (found.totals.sent, found.totals.revenue) == (1, 500)


def test_json_says_what_the_report_says(books: Books) -> None:
    books.message("ann", seen=("delivered", "clicked"))
    books.message(status="skipped", reason="capped")
    books.credit(1_250, START)
    books.earned(START, 9_000, orders=3)
    books.spent([2_000] * 40, arm="treated")
    books.spent([1_000] * 40, arm="held_out")
    books.measured()

    found = books.build()
    told = json.loads(json.dumps(report.as_json(found)))

    assert told["totals"]["revenue"] == found.totals.revenue == 1_250
    assert told["totals"]["not_sent"] == found.totals.not_sent == 1
    assert told["totals"]["revenue_per_recipient"] == 1_250
    assert told["campaigns"][1]["incremental"]["treated"] == {
        "persons": 40, "buyers": 40, "revenue": 80_000, "per_person": 2_000.0,
    }  # fmt: skip
    assert told["campaigns"][1]["incremental"]["verdict"] == "proven"
    assert (told["start"], told["total_orders"]) == ("2026-11-01T22:00:00+00:00", 3)
    assert told["days"] == [{"day": "2026-11-02", "campaign": "cart", "revenue": 1_250, "orders": 1}]


def test_what_needs_somebody_is_told_first(books: Books) -> None:
    with books.ledger.writing() as conn:
        brakes.pull(conn, "campaign:cart", reason="wrong price", at=START, by="ann")
        progress.save_state(conn, progress.CampaignState("browse", "live", waiting_count=7_000))
        stale = progress.start_run(conn, None, "plan", "cart", as_of=NOW, now=NOW - HOUR)
        progress.end_run(conn, stale, {"stale": "orders"}, now=NOW)
        progress.start_run(conn, None, "dispatch", as_of=NOW, now=NOW - 3 * HOUR)
    books.measured(at=NOW - 3 * DAY)
    books.measured(at=NOW - HOUR, error="WarehouseError")

    assert list(books.build().alerts) == [
        "Cart is stopped since 2 Nov 00:00 EET: wrong price. Go on with `tidings resume cart`.",
        "Browse waits for approval: it would write to 7,000 people at once. Let it run with `tidings approve browse`.",
        "Dispatch: the dispatch run of 8 Dec 21:00 EET never ended.",
        "Measure: the last measure run failed on 8 Dec 23:00 EET (WarehouseError).",
        "Cart was not planned on 8 Dec 23:00 EET: orders is out of date.",
        "Results are as of 6 Dec 00:00 EET. Run `tidings measure`.",
    ]


def test_a_shop_in_order_has_no_alerts(books: Books) -> None:
    with books.ledger.writing() as conn:
        run = progress.start_run(conn, None, "plan", "cart", as_of=NOW, now=NOW - HOUR)
        progress.end_run(conn, run, {"found": 3}, now=NOW)
    books.measured()

    assert books.build().alerts == ()
