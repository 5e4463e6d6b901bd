"""The facts of ../shared/data/README.md, found by the product's own detectors, equal in DuckDB and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tidings.detect.walk import trigger_types
from tidings.model.entry import Entry, Window
from tidings.warehouse.contract import contract

TYPES = trigger_types()
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
REES46_END = datetime(2019, 10, 1, 2, 50, tzinfo=UTC)
RETAIL_END = datetime(2010, 12, 1, tzinfo=UTC)

REES46 = {
    "product_events": """
        INSERT INTO product_events (customer_id, session_id, kind, sku, price, currency, occurred_at)
        SELECT user_id, user_session, CASE event_type WHEN 'view' THEN 'viewed' WHEN 'cart' THEN 'added'
            ELSE 'purchased' END, product_id, CAST(round(CAST(price AS DECIMAL(18, 2)) * 100) AS BIGINT), 'USD',
            strptime(event_time, '%Y-%m-%d %H:%M:%S UTC') AT TIME ZONE 'UTC'
        FROM read_csv('{file}', all_varchar = true, null_padding = true) WHERE user_session IS NOT NULL""",
    "orders": """
        INSERT INTO orders (order_id, customer_id, ordered_at)
        SELECT session_id, customer_id, occurred_at FROM product_events WHERE kind = 'purchased'""",
}
SALES = """(SELECT *, CAST(CAST("Customer ID" AS BIGINT) AS VARCHAR) AS customer,
    strptime("InvoiceDate", '%Y-%m-%d %H:%M:%S') AT TIME ZONE 'UTC' AS sold_at FROM '{file}'
    WHERE "Customer ID" IS NOT NULL AND "Invoice" NOT LIKE 'C%' AND "Quantity" > 0 AND "Price" > 0)"""
RETAIL = {
    "orders": f"""
        INSERT INTO orders (order_id, customer_id, ordered_at, currency)
        SELECT "Invoice", customer, min(sold_at), 'GBP' FROM {SALES} GROUP BY ALL""",
    # What they bought they looked at; the dearest price of a day is what everybody pays.
    "product_events": f"""
        INSERT INTO product_events (customer_id, kind, sku, price, currency, occurred_at)
        SELECT DISTINCT customer, 'viewed', "StockCode", CAST(round("Price" * 100) AS BIGINT), 'GBP', sold_at
        FROM {SALES} WHERE sold_at >= '2010-10-01'""",
    "prices": f"""
        INSERT INTO prices (sku, currency, amount, valid_from)
        SELECT "StockCode", 'GBP', CAST(round(max("Price") * 100) AS BIGINT), min(sold_at) FROM {SALES}
        WHERE sold_at >= '2010-09-01' GROUP BY "StockCode", date_trunc('day', sold_at)""",
    # Three weeks without a sale stand for an empty shelf, from the day after the last one.
    "stock": f"""
        INSERT INTO stock (sku, quantity, observed_at)
        WITH sold AS (SELECT "StockCode" AS sku, min(sold_at) AS sold_at, lead(min(sold_at)) OVER (
                PARTITION BY "StockCode" ORDER BY min(sold_at)) AS next
            FROM {SALES} WHERE sold_at >= '2010-09-01' GROUP BY "StockCode", date_trunc('day', sold_at))
        SELECT sku, 1, sold_at FROM sold UNION
        SELECT sku, 0, sold_at + INTERVAL 1 DAY FROM sold WHERE next > sold_at + INTERVAL 21 DAY""",
    "stock_requests": f"""
        INSERT INTO stock_requests (customer_id, sku, requested_at)
        SELECT customer, "StockCode", max(sold_at) + INTERVAL 2 DAY FROM {SALES} WHERE sold_at < '2010-11-01'
        GROUP BY ALL HAVING count(*) > 1""",
}


def loaded(shops: list[Any], statements: dict[str, str], file: Path) -> list[Any]:
    """Fill the DuckDB shop by SQL, and the PostgreSQL shop with the same rows."""
    duck, postgres = shops
    for shop in shops:
        shop.fill()
    with duck.engine.begin() as conn:
        for name, statement in statements.items():
            duck.held[name] = []
            conn.exec_driver_sql(statement.replace("{file}", str(file)))
    for name, statement in statements.items():
        columns = statement.split("(", 1)[1].split(")", 1)[0].split(", ")
        table = contract.tables[name]
        with duck.engine.connect() as source, postgres.engine.begin() as target:
            cursor = target.connection.cursor()
            with cursor.copy(f"COPY {name} ({', '.join(columns)}) FROM STDIN") as copy:
                for row in source.execute(select(*(table.c[key] for key in columns))):
                    copy.write_row(tuple(row))
            target.exec_driver_sql(f"ANALYZE {name}")
        for shop in shops:
            shop.held[name] = [dict.fromkeys(columns)]
            shop.map(*shop.held)
    return shops


@pytest.fixture(scope="module")
def shops(duckdb_shop: Any, postgres_shop: Any) -> list[Any]:
    return [duckdb_shop, postgres_shop]


@pytest.fixture(scope="module")
def rees46(shared: Path, shops: list[Any]) -> Iterator[Callable[..., list[Entry]]]:
    loaded(shops, REES46, shared / "data" / "rees46_2019-10-01_first17435.csv.gz")
    yield both(shops, REES46_END)
    for shop in shops:
        shop.fill()


@pytest.fixture(scope="module")
def retail(shared: Path, shops: list[Any]) -> Iterator[Callable[..., list[Entry]]]:
    loaded(shops, RETAIL, shared / "data" / "uci_online_retail_ii_2009-2010.parquet")
    yield both(shops, RETAIL_END)
    for shop in shops:
        shop.fill()


def both(shops: list[Any], end: datetime) -> Callable[..., list[Entry]]:
    def find(name: str, since: datetime = LONG_AGO, without: str = "", **detect: Any) -> list[Entry]:
        for shop in shops:
            shop.map(*(table for table in shop.held if table != without))
        trigger = TYPES[name](type=name, **detect)
        found = [sorted(trigger.entries(shop, Window(since, end)), key=lambda e: e.key) for shop in shops]
        assert found[0] == found[1]
        assert len({entry.key for entry in found[0]}) == len(found[0])
        for shop in shops:
            assert trigger.untrue(shop, found[0], end) == {}
        return found[0]

    return find


class TestRees46:
    @pytest.mark.parametrize(("grace", "customers"), [("0m", 36), ("10m", 34)])
    def test_as_many_carts_are_abandoned_as_the_facts_say(self, rees46, grace, customers):
        entries = rees46("cart_abandonment", idle="10m", order_grace=grace)

        assert len({entry.customer_id for entry in entries}) == len(entries) == customers
        assert all(entry.value and entry.currency == "USD" for entry in entries)

    def test_abandoned_visits_name_products_that_were_viewed_twice_and_by_nobody_who_carted_or_bought(self, rees46):
        entries = rees46("browse_abandonment", idle="10m")
        carts = {entry.customer_id for entry in rees46("cart_abandonment", idle="10m")}

        assert len(entries) > 500
        assert carts.isdisjoint(entry.customer_id for entry in entries)
        assert all(entry.items and entry.anchor_at <= REES46_END - timedelta(minutes=10) for entry in entries)
        assert all(item.price is not None and item.price > 0 for entry in entries for item in entry.items)


class TestOnlineRetail:
    def test_609_customers_lapsed_without_an_entry_window(self, retail):
        assert len(retail("win_back", lapse="90d", minimum_orders=2, entry_window=None)) == 609

    def test_44_customers_lapsed_within_a_week(self, retail):
        assert len(retail("win_back", lapse="90d", minimum_orders=2, entry_window="7d")) == 44

    def test_a_price_drop_is_one_against_the_price_the_customer_paid(self, retail):
        # Everybody who looked has bought, at that very moment: the interest is in buying it again.
        entries = retail("price_drop", RETAIL_END - timedelta(days=14), without="orders", look_back="60d")

        assert len(entries) > 100
        for entry in entries:
            seen, now = int(entry.facts["seen_price"]), int(entry.facts["price_now"])
            assert Fraction(1, 10) <= Fraction(seen - now, seen) <= Fraction(8, 10)
            assert datetime.fromisoformat(entry.facts["seen_at"]) < entry.anchor_at <= RETAIL_END - timedelta(hours=1)

    def test_a_restock_is_told_to_those_who_asked_for_that_very_sku_before_it(self, retail):
        entries = retail("back_in_stock", RETAIL_END - timedelta(days=14), viewers=False)

        assert len(entries) > 20
        assert len({(entry.customer_id, entry.sku) for entry in entries}) == len(entries)
        assert all(datetime.fromisoformat(entry.facts["wanted_at"]) < entry.anchor_at for entry in entries)
