"""Measuring credits an order once, takes back what is refunded, counts everybody, and changes nothing when repeated."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlalchemy import insert, select

from tidings.errors import WarehouseError
from tidings.jobs import measure
from tidings.jobs.opening import Opened, open_project
from tidings.ledger import schema
from tidings.ledger.store import Ledger, migrate
from tidings.measure import balance

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SENT = datetime(2026, 11, 2, 9, tzinfo=UTC)
NOW = SENT + 20 * DAY

SHOP = """\
shop: fenmark
brand: {name: Fenmark, legal_name: Fenmark Oy, postal_address: "Kajokatu 1, 00100 Helsinki, Finland",
        url: "https://fenmark.example", zone: Europe/Helsinki, currency: EUR, country: FI}
senders: {email: {from: hello@fenmark.example}}
"""
MAPPING = """\
database: {kind: duckdb, files: {customers: customers.parquet, orders: orders.parquet, refunds: refunds.parquet,
           identities: identities.parquet, product_events: product_events.parquet}}
tables: {customers: {}, orders: {}, refunds: {}, identities: {}, product_events: {}}
"""
CAMPAIGN = """\
id: {id}
mode: live
detect: {{type: {id}_abandonment}}
schedule: "@hourly"
steps: [{{name: one, channel: email, template: one}}]
holdout: 50%
attribution: {{window: {{email: {{click: 5d}}}}}}
"""
TABLES = {
    "customers": "customer_id VARCHAR, email VARCHAR",
    "orders": "order_id VARCHAR, customer_id VARCHAR, email VARCHAR, status VARCHAR, total BIGINT, currency VARCHAR, "
    "ordered_at TIMESTAMPTZ, updated_at TIMESTAMPTZ",
    "refunds": "order_id VARCHAR, amount BIGINT, currency VARCHAR, refunded_at TIMESTAMPTZ",
    "identities": "alias VARCHAR, customer_id VARCHAR, kind VARCHAR, valid_from TIMESTAMPTZ, valid_to TIMESTAMPTZ",
    "product_events": "customer_id VARCHAR, kind VARCHAR, sku VARCHAR, occurred_at TIMESTAMPTZ",
}


class Shop:
    """A warehouse of what the test says, and a ledger of what was sent."""

    def __init__(self, folder: Path, opened: Opened) -> None:
        self.folder, self.opened = folder, opened
        self.rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in TABLES}
        self._numbers = itertools.count(1)

    def customer(self, customer_id: str, email: str | None = None) -> None:
        self.rows["customers"].append((customer_id, email))

    def order(
        self, order_id: str, who: str | None, total: int, at: datetime, *, currency: str = "EUR",
        status: str = "completed", email: str | None = None, updated: datetime | None = None,
    ) -> None:  # fmt: skip
        self.rows["orders"].append((order_id, who, email, status, total, currency, at, updated))

    def refund(self, order_id: str, amount: int, at: datetime = SENT + 10 * DAY, currency: str = "EUR") -> None:
        self.rows["refunds"].append((order_id, amount, currency, at))

    def merged(self, alias: str, into: str) -> None:
        self.rows["identities"].append((alias, into, "former", SENT + DAY, None))

    def message(
        self, who: str, *, campaign: str = "cart", arm: str = "treated", at: datetime = SENT,
        clicked: datetime | None = None, status: str | None = None,
    ) -> str:  # fmt: skip
        """Send a message, or hold one out, in the ledger."""
        number, held_out = next(self._numbers), arm == "held_out"
        entry, message = f"e{number:031}", f"m{number:031}"
        status = status or ("held_out" if held_out else "sent")
        with self.opened.ledger.writing() as conn:
            conn.execute(insert(schema.entries).values(
                id=entry, space="live", campaign=campaign, entry_key=entry, customer_id=who, sku="", anchor_at=at,
                entered_at=at, planned_at=at, arm=arm, variant="", seen="{}", run_id="r",
            ))  # fmt: skip
            conn.execute(insert(schema.messages).values(
                id=message, entry_id=entry, space="live", campaign=campaign, step="one", step_no=0, channel="email",
                customer_id=who, shard=0, priority=1, held_out=held_out, status=status, send_at=at, first_send_at=at,
                expires_at=at + DAY, attempt=0, deferrals=0, sending_at=at, ended_at=at,
                sent_at=None if held_out else at,
            ))  # fmt: skip
            if clicked is not None:
                conn.execute(insert(schema.engagements).values(
                    id=f"g{number}", message_id=message, kind="clicked", at=clicked, received_at=clicked, machine=False
                ))  # fmt: skip
        return message

    def measure(self, now: datetime = NOW, **given: Any) -> measure.MeasureCounts:
        made = duckdb.connect()
        made.execute("SET TimeZone = 'UTC'")
        for name, columns in TABLES.items():
            made.execute(f"CREATE OR REPLACE TABLE {name} ({columns})")
            if self.rows[name]:
                marks = ", ".join("?" for _ in self.rows[name][0])
                made.executemany(f"INSERT INTO {name} VALUES ({marks})", self.rows[name])
            made.execute(f"COPY {name} TO '{self.folder}/{name}.parquet' (FORMAT parquet)")
        made.close()
        return measure.run(self.opened, now=now, **given)

    def credits(self) -> list[tuple[str, str, str, int, int]]:
        c = schema.credits.c
        return self._read(select(c.order_id, c.campaign, c.currency, c.gross, c.net).order_by(c.order_id))

    def outcomes(self) -> list[tuple[str, str, str, str, int, int]]:
        o = schema.outcomes.c
        return self._read(
            select(o.campaign, o.customer_id, o.arm, o.currency, o.orders, o.revenue)
            .order_by(o.campaign, o.customer_id, o.currency)
        )  # fmt: skip

    def days(self) -> list[tuple[datetime, str, int, int, int]]:
        return self._read(select(schema.revenue_days).order_by("day", "currency"))

    def _read(self, query: Any) -> list[Any]:
        with self.opened.ledger.reading() as conn:
            return [tuple(row) for row in conn.execute(query)]


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    url = f"sqlite:///{tmp_path}/ledger.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    (tmp_path / "triggers").mkdir()
    (tmp_path / "message_templates").mkdir()
    (tmp_path / "message_templates" / "one.mjml").write_text("<mjml></mjml>")
    (tmp_path / "tidings.yaml").write_text(SHOP)
    (tmp_path / "warehouse.yaml").write_text(MAPPING)
    for name in ("cart", "browse"):
        (tmp_path / "triggers" / f"{name}.yaml").write_text(CAMPAIGN.format(id=name))
    migrate(url)
    ledger = Ledger.open(url)
    with open_project(tmp_path) as opened:
        assert sorted(opened.project.campaigns) == ["browse", "cart"], opened.project.mistakes
        opened.ledger = ledger
        yield Shop(tmp_path, opened)
    ledger.close()


def test_an_order_after_two_campaigns_clicks_is_credited_once_to_the_last(shop: Shop) -> None:
    shop.message("ann", campaign="cart", clicked=SENT + HOUR)
    shop.message("ann", campaign="browse", clicked=SENT + 2 * HOUR)
    shop.order("o1", "ann", 12_900, SENT + DAY)

    told = shop.measure()

    assert shop.credits() == [("o1", "browse", "EUR", 12_900, 12_900)]
    assert (told.orders, told.credited, told.attributed, told.revenue) == (1, 1, {"EUR": 12_900}, {"EUR": 12_900})


def test_an_order_without_a_click_earns_no_campaign_anything(shop: Shop) -> None:
    shop.message("ann")
    shop.order("o1", "ann", 12_900, SENT + DAY)

    shop.measure()

    assert shop.credits() == []


def test_a_refund_takes_back_and_a_cancellation_takes_all(shop: Shop) -> None:
    for who in ("ann", "bo", "cy"):
        shop.message(who, clicked=SENT + HOUR)
    shop.order("o1", "ann", 12_900, SENT + DAY)
    shop.order("o2", "bo", 5_000, SENT + DAY)
    shop.order("o3", "cy", 7_000, SENT + DAY, status="refunded")
    shop.measure(now=SENT + 5 * DAY)
    before = shop.credits()

    shop.refund("o1", 2_900)
    shop.refund("o1", 1_000)
    shop.refund("o1", 999, currency="USD")
    shop.rows["orders"][1] = ("o2", "bo", None, "cancelled", 5_000, "EUR", SENT + DAY, None)
    shop.measure()

    assert [net for *_, net in before] == [12_900, 5_000, 0]
    assert shop.credits() == [
        ("o1", "cart", "EUR", 12_900, 9_000), ("o2", "cart", "EUR", 5_000, 0), ("o3", "cart", "EUR", 7_000, 0),
    ]  # fmt: skip
    assert [(who, revenue) for _, who, _, _, _, revenue in shop.outcomes()] == [("ann", 9_000), ("bo", 0), ("cy", 0)]


def test_measuring_again_changes_nothing(shop: Shop) -> None:
    for number in range(5):
        shop.message(f"c{number}", clicked=SENT + HOUR, arm="treated" if number % 2 else "held_out")
        shop.order(f"o{number}", f"c{number}", 1_000 + number, SENT + DAY)
    shop.measure()
    first = (shop.credits(), shop.outcomes(), shop.days())

    for given in ({}, {"full": True}, {"now": NOW + DAY}):
        shop.measure(**given)

        assert (shop.credits(), shop.outcomes(), shop.days()) == first


def test_what_an_earlier_run_found_and_this_one_does_not_is_gone(shop: Shop) -> None:
    shop.message("ann", clicked=SENT + HOUR)
    shop.order("o1", "ann", 1_000, SENT + DAY)
    shop.order("o2", "ann", 2_000, SENT + DAY)
    shop.measure()

    del shop.rows["orders"][1]
    told = shop.measure(now=NOW + HOUR)

    assert [order for order, *_ in shop.credits()] == ["o1"]
    assert told.removed == 1


def test_everybody_exposed_counts_in_the_arm_they_were_assigned(shop: Shop) -> None:
    shop.message("ann", arm="treated")
    shop.message("bo", arm="held_out")
    shop.message("cy", arm="treated", status="unknown")
    shop.message("di", arm="treated", status="skipped")
    shop.order("o1", "bo", 4_200, SENT + DAY)

    told = shop.measure()

    assert shop.outcomes() == [
        ("cart", "ann", "treated", "EUR", 0, 0),
        ("cart", "bo", "held_out", "EUR", 1, 4_200),
        ("cart", "cy", "treated", "EUR", 0, 0),
    ]
    assert (told.people, told.outcomes) == (3, 3)


def test_a_held_out_buyer_earns_no_campaign_anything(shop: Shop) -> None:
    shop.message("bo", arm="held_out", clicked=SENT + HOUR)
    shop.order("o1", "bo", 4_200, SENT + DAY)

    shop.measure()

    assert shop.credits() == []


def test_a_person_with_two_entries_counts_once_from_the_first(shop: Shop) -> None:
    shop.message("ann", at=SENT + 8 * DAY)
    shop.message("ann", at=SENT)
    shop.order("o1", "ann", 1_000, SENT + DAY)

    shop.measure()

    assert shop.outcomes() == [("cart", "ann", "treated", "EUR", 1, 1_000)]


@pytest.mark.parametrize(
    ("after", "revenue"),
    [(timedelta(0), 0), (timedelta(microseconds=1), 500), (14 * DAY, 500), (14 * DAY + timedelta(microseconds=1), 0)],
    ids=["at the exposure", "just after", "at the window's end", "past it"],
)
def test_what_is_bought_within_the_window_counts(shop: Shop, after: timedelta, revenue: int) -> None:
    shop.message("ann")
    shop.order("o1", "ann", 500, SENT + after)

    shop.measure()

    assert [row[-1] for row in shop.outcomes()] == [revenue]


def test_merged_ids_are_one_person_and_the_earliest_arm_wins(shop: Shop) -> None:
    shop.customer("ann")
    shop.merged("ann-old", "ann")
    shop.message("ann-old", arm="held_out", at=SENT)
    shop.message("ann", arm="treated", at=SENT + DAY, clicked=SENT + DAY + HOUR)
    shop.order("o1", "ann-old", 1_000, SENT + 2 * DAY)

    shop.measure()

    assert shop.outcomes() == [("cart", "ann", "held_out", "EUR", 1, 1_000)]
    assert shop.credits() == [("o1", "cart", "EUR", 1_000, 1_000)]


def test_people_merged_since_the_last_run_leave_no_second_row(shop: Shop) -> None:
    shop.customer("ann")
    shop.message("ann-old")
    shop.message("ann", at=SENT + DAY)
    shop.measure()
    assert [who for _, who, *_ in shop.outcomes()] == ["ann", "ann-old"]

    shop.merged("ann-old", "ann")
    shop.measure(now=NOW + HOUR)

    assert [who for _, who, *_ in shop.outcomes()] == ["ann"]


def test_parts_of_any_size_give_the_same_answer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        shop.merged(f"z{number}", f"a{number}")
        shop.message(f"z{number}", clicked=SENT + HOUR)
        shop.message(f"a{number}", arm="held_out", at=SENT + DAY)
        shop.order(f"o{number}", f"a{number}", 100 + number, SENT + 2 * DAY)
    shop.measure()
    whole = (shop.credits(), shop.outcomes(), shop.days())

    monkeypatch.setattr(measure, "BATCH", 2)
    shop.measure(now=NOW + HOUR)

    assert (shop.credits(), shop.outcomes(), shop.days()) == whole
    assert len(whole[0]) == len(whole[1]) == 7


@pytest.mark.parametrize("batch", [1, 5_000], ids=["an order at a time", "all at once"])
def test_a_message_touches_by_its_first_click_whatever_was_read_with_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(measure, "BATCH", batch)
    again = SENT + 6 * DAY
    clicked = shop.message("ann", clicked=SENT + HOUR)
    with shop.opened.ledger.writing() as conn:
        conn.execute(insert(schema.engagements).values(
            id="again", message_id=clicked, kind="clicked", at=again, received_at=again, machine=False
        ))  # fmt: skip
    shop.order("o1", "ben", 12_900, SENT + 2 * DAY)
    shop.order("o2", "ann", 12_900, SENT + 8 * DAY)

    shop.measure()

    assert shop.credits() == []


def test_a_guest_order_under_the_customers_address_counts(shop: Shop) -> None:
    shop.customer("ann", "Ann@Post.example ")
    shop.message("ann", clicked=SENT + HOUR)
    shop.order("o1", None, 3_000, SENT + DAY, email="ann@post.example")

    shop.measure()

    assert shop.credits() == [("o1", "cart", "EUR", 3_000, 3_000)]
    assert shop.outcomes() == [("cart", "ann", "treated", "EUR", 1, 3_000)]


def test_an_order_under_a_shared_address_is_still_credited_once(shop: Shop) -> None:
    for who, later in (("ann", HOUR), ("bo", 2 * HOUR)):
        shop.customer(who, "home@post.example")
        shop.message(who, campaign="cart" if who == "ann" else "browse", clicked=SENT + later)
    shop.order("o1", "ann", 3_000, SENT + DAY, email="home@post.example")

    shop.measure()

    assert shop.credits() == [("o1", "browse", "EUR", 3_000, 3_000)]


def test_an_order_that_comes_twice_is_one_order(shop: Shop) -> None:
    shop.message("ann", clicked=SENT + HOUR)
    shop.order("o1", "ann", 3_000, SENT + DAY, updated=SENT + DAY)
    shop.order("o1", "ann", 2_500, SENT + DAY, updated=SENT + 2 * DAY)
    shop.refund("o1", 500)

    told = shop.measure()

    assert shop.credits() == [("o1", "cart", "EUR", 2_500, 2_000)]
    assert told.orders == 1


def test_currencies_are_kept_apart(shop: Shop) -> None:
    shop.message("ann", clicked=SENT + HOUR)
    shop.order("o1", "ann", 3_000, SENT + DAY)
    shop.order("o2", "ann", 9_900, SENT + DAY, currency="SEK")
    shop.order("o3", "ann", 1, SENT + DAY, currency=None)  # type: ignore[arg-type]

    told = shop.measure()

    assert shop.outcomes() == [("cart", "ann", "treated", "EUR", 1, 3_000), ("cart", "ann", "treated", "SEK", 1, 9_900)]
    assert told.revenue == told.attributed == {"EUR": 3_000, "SEK": 9_900}
    assert told.no_currency == 1


def test_revenue_is_counted_by_the_shops_own_days(shop: Shop) -> None:
    shop.order("o1", "ann", 1_000, datetime(2026, 11, 10, 21, 59, tzinfo=UTC))
    shop.order("o2", "bo", 2_000, datetime(2026, 11, 10, 22, 0, tzinfo=UTC))
    shop.order("o3", "cy", 4_000, datetime(2026, 11, 10, 22, 1, tzinfo=UTC), status="cancelled")

    shop.measure()

    assert shop.days() == [
        (datetime(2026, 11, 9, 22, tzinfo=UTC), "EUR", 1, 1_000, 1_000),
        (datetime(2026, 11, 10, 22, tzinfo=UTC), "EUR", 1, 6_000, 2_000),
    ]


def test_orders_from_the_future_are_not_counted(shop: Shop) -> None:
    shop.message("ann", clicked=SENT + HOUR)
    shop.order("o1", "ann", 1_000, NOW + HOUR)

    told = shop.measure()

    assert (told.orders, shop.credits(), shop.days()) == (0, [], [])


def test_a_later_run_reads_back_as_far_as_refunds_are_taken_up(shop: Shop) -> None:
    shop.message("ann", clicked=SENT + HOUR)
    shop.order("o1", "ann", 1_000, SENT + DAY)
    shop.measure()
    shop.refund("o1", 400)

    late = shop.measure(now=SENT + DAY + timedelta(days=120))
    later = shop.measure(now=SENT + DAY + timedelta(days=240))
    unread = shop.credits()
    shop.refund("o1", 100)
    shop.measure(now=SENT + DAY + timedelta(days=241))
    unchanged = shop.credits()
    shop.measure(now=SENT + DAY + timedelta(days=242), full=True)

    assert (late.orders, later.orders) == (1, 0)
    assert unread == unchanged == [("o1", "cart", "EUR", 1_000, 600)]
    assert shop.credits() == [("o1", "cart", "EUR", 1_000, 500)]


def test_a_campaign_whose_file_is_gone_keeps_what_it_earned(shop: Shop) -> None:
    with shop.opened.ledger.writing() as conn:
        conn.execute(insert(schema.campaigns).values(campaign="gone", space="live"))
    shop.message("ann", campaign="gone", clicked=SENT + HOUR)
    shop.order("o1", "ann", 1_000, SENT + DAY)

    shop.measure()

    assert shop.credits() == [("o1", "gone", "EUR", 1_000, 1_000)]


def test_a_credit_above_its_order_fails_the_run_and_says_so_in_the_ledger(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.message("ann", clicked=SENT + HOUR)
    shop.order("o1", "ann", 1_000, SENT + DAY)
    right = measure.credits

    def doubled(*given: Any) -> Iterator[Any]:
        return (one for credit in right(*given) for one in (credit, credit))

    monkeypatch.setattr(measure, "credits", doubled)

    with pytest.raises(balance.Unbalanced, match="order o1: credits must not exceed its 1000; found 2000"):
        shop.measure()
    assert shop._read(select(schema.runs.c.job, schema.runs.c.error)) == [("measure", "Unbalanced")]
    assert shop.credits() == []


def test_a_shop_without_orders_is_told_what_is_missing(shop: Shop) -> None:
    shop.measure()
    mapping = MAPPING.replace("orders: orders.parquet, ", "").replace("orders: {}, ", "")
    (shop.folder / "warehouse.yaml").write_text(mapping)

    with open_project(shop.folder) as bare:
        bare.ledger = shop.opened.ledger
        with pytest.raises(WarehouseError, match=r"tables\.orders: is needed here but not mapped"):
            measure.run(bare, now=NOW)
