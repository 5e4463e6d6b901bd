"""How far a table is loaded is told by its rows, a load log or a query; a quiet shop is not a stale one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tidings.errors import WarehouseError
from tidings.warehouse import freshness

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
SHOP = [
    "CREATE TABLE orders (order_id varchar, ordered_at timestamptz, loaded_at timestamp)",
    """INSERT INTO orders VALUES ('a', '2024-02-01 00:00:00+00', '2024-03-01 11:30:00'),
       ('b', '2024-02-01 00:00:00+00', '2031-01-01 00:00:00')""",
    "CREATE TABLE load_log (source varchar, status varchar, finished_at timestamp)",
    """INSERT INTO load_log VALUES ('orders', 'done', '2024-03-01 11:50:00'),
       ('orders', 'failed', '2024-03-01 11:59:00'), ('stock', 'done', '2024-03-01 11:58:00')""",
]


def marked(watermark: str, rest: str = "freshness: 15m") -> str:
    return f"orders: {{watermark: {watermark}, {rest}}}"


@pytest.mark.parametrize(
    ("watermark", "at"),
    [
        ("{column: loaded_at}", datetime(2024, 3, 1, 11, 30, tzinfo=UTC)),
        (
            "{table: load_log, column: finished_at, where: {source: orders, status: done}}",
            datetime(2024, 3, 1, 11, 50, tzinfo=UTC),
        ),
        ("{query: \"SELECT max(finished_at) FROM load_log WHERE source = 'stock'\"}", NOON - timedelta(minutes=2)),
        ("{query: \"SELECT '2024-03-01 13:30:00+02:00'\"}", NOON - timedelta(minutes=30)),
        ("{query: \"SELECT max(finished_at) FROM load_log WHERE source = 'none'\"}", None),
        ('{query: "SELECT finished_at FROM load_log WHERE 1 = 0"}', None),
    ],
)
def test_a_watermark_is_an_aware_moment_never_after_now(shop, watermark, at):
    warehouse = shop(SHOP, marked(watermark))

    assert freshness.watermarks(warehouse, warehouse.mapping, ["orders"], as_of=NOON) == {"orders": at}


def test_a_table_is_complete_only_up_to_its_lateness_before_the_watermark(shop):
    warehouse = shop(SHOP, marked("{column: loaded_at}", "lateness: 10m"))

    marks = freshness.watermarks(warehouse, warehouse.mapping, ["orders"], as_of=NOON)

    assert marks == {"orders": datetime(2024, 3, 1, 11, 20, tzinfo=UTC)}


def test_a_table_without_a_watermark_is_unknown_and_never_stale(shop):
    warehouse = shop(SHOP, "orders: {}")

    assert freshness.watermarks(warehouse, warehouse.mapping, ["orders", "stock"]) == {"orders": None, "stock": None}
    assert freshness.stale(warehouse, warehouse.mapping, ["orders", "stock"], NOON) == {}


def test_a_table_is_stale_only_beyond_its_freshness(shop):
    by_row = shop(SHOP, marked("{column: loaded_at}", "freshness: 30m"))

    assert freshness.stale(by_row, by_row.mapping, ["orders"], NOON) == {}
    assert set(freshness.stale(by_row, by_row.mapping, ["orders"], NOON + timedelta(seconds=1))) == {"orders"}


def test_a_shop_that_loads_but_sells_nothing_is_not_stale(shop):
    warehouse = shop(SHOP, marked("{table: load_log, column: finished_at, where: {source: orders, status: done}}"))

    assert freshness.stale(warehouse, warehouse.mapping, ["orders"], NOON) == {}


def test_a_table_that_was_never_loaded_is_stale(shop):
    warehouse = shop(SHOP, marked("{table: load_log, column: finished_at, where: {source: never}}"))

    assert set(freshness.stale(warehouse, warehouse.mapping, ["orders"], NOON)) == {"orders"}


def test_a_watermark_query_must_answer_with_one_time(shop):
    for query in ("SELECT finished_at FROM load_log", "SELECT 'soon'"):
        warehouse = shop(SHOP, marked(f'{{query: "{query}"}}'))

        with pytest.raises(WarehouseError, match=r"tables\.orders\.watermark: must"):
            freshness.watermarks(warehouse, warehouse.mapping, ["orders"])
